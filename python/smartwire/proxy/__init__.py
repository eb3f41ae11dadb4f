"""The proxy engine: HAProxy in a container, steered by BPF at tc (docs/proxy.md)."""
