// STUB for tests: a module that has the name and a version of NVIDIA's driver, drives nothing, and builds in seconds.
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/version.h>

#if defined(STUB_KNOWS) && LINUX_VERSION_CODE > STUB_KNOWS
// A driver that is older than its kernel: the function has more parameters than it knows of.
int stub_resize(struct pci_dev *dev);
int stub_resize(struct pci_dev *dev)
{
	return pci_resize_resource(dev, 1);
}
#endif

static int __init stub_init(void)
{
	return -ENODEV;
}

static void __exit stub_exit(void)
{
}

module_init(stub_init);
module_exit(stub_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_VERSION(STUB_VERSION);
MODULE_DESCRIPTION("stub: drives nothing");
