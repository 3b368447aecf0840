"""The sandbox serves the catalogue's smallest instruct model, on the CPU."""

inference_services = [{"name": "chat"}]

# A model of 215 KB that answers "ok" to everything: `--data inference_model=ok` changes to it.
model_store_models = [{"name": "ok", "path": "tests/fixtures/ok.gguf"}]

# Said here so that it is kept: a default of ours is only for a file that does not exist yet.
container_engine_daemon_json = {"log-driver": "local"}
