"""The lab: hosts in network namespaces with the kernel's own TCP, and a radio emulator of our own between them."""
