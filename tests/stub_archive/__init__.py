"""A stub vendor archive: signed apt repositories of empty packages under the vendors' names, and an apt to ask.

What apt answers is real (resolver, pins, holds, conflicts); no result from here is called an install.
"""
