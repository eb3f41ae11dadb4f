//! The built BPF programs, and how one becomes instructions for the kernel.
//!
//! An object has one program in one section, and places in it that name a map. The maps are made by
//! [`super::maps`]; here their descriptors are put into these places. No BTF, nothing else to relocate.

/// The copper wire.
pub(super) const TC: Object = Object { bytes: include_bytes!("../../../../bpf/tc.bpf.o"), section: "tc" };
/// Frames to AF_XDP sockets.
pub(super) const XDP: Object = Object { bytes: include_bytes!("../../../../bpf/xdp.bpf.o"), section: "xdp.frags" };
/// The socket filter.
pub(super) const TAP: Object = Object { bytes: include_bytes!("../../../../bpf/tap.bpf.o"), section: "socket" };

/// The proxy's program at a port.
pub(super) const PROXY_PORT: Object =
    Object { bytes: include_bytes!("../../../../bpf/proxy_port.bpf.o"), section: "tc" };
/// The proxy's program at the host's end of a container's veth.
pub(super) const PROXY_VETH: Object =
    Object { bytes: include_bytes!("../../../../bpf/proxy_veth.bpf.o"), section: "tc" };
/// The proxy's choice of a listener.
pub(super) const PROXY_PICK: Object =
    Object { bytes: include_bytes!("../../../../bpf/proxy_pick.bpf.o"), section: "sk_lookup" };

/// One built object.
#[derive(Clone, Copy)]
pub(super) struct Object {
    bytes: &'static [u8],
    section: &'static str,
}

/// Bytes per instruction.
const INSN: usize = 8;
/// Load of a 64-bit constant, the only instruction that names a map.
const LD_IMM64: u8 = 0x18;
/// Source register of a [`LD_IMM64`] whose constant is a map's descriptor.
const PSEUDO_MAP_FD: u8 = 1;

impl Object {
    /// The instructions, with `map_fd(name)` where the program names map `name`.
    pub(super) fn instructions(&self, map_fd: impl Fn(&str) -> Option<i32>) -> Result<Vec<u8>, String> {
        let bad = |what: &str| format!("the built BPF object for section {} {what}", self.section);
        self.link(map_fd).map_err(|e| bad(&e))
    }

    fn link(&self, map_fd: impl Fn(&str) -> Option<i32>) -> Result<Vec<u8>, String> {
        let elf = Elf { bytes: self.bytes };
        let code = elf.section(self.section).ok_or("has no such section")?;
        let mut out = elf.content(code).ok_or("is cut short")?.to_vec();
        let relocations = elf.section(&format!(".rel{}", self.section)).ok_or("has no relocations")?;
        for r in elf.content(relocations).ok_or("is cut short")?.chunks_exact(16) {
            let (at, symbol) = (u64_at(r, 0).unwrap_or(0) as usize, u64_at(r, 8).unwrap_or(0) >> 32);
            let name = elf.symbol(symbol as usize).ok_or("has a relocation without a name")?;
            let fd = map_fd(name).ok_or_else(|| format!("wants an unknown map {name}"))?;
            let insn = out.get_mut(at..at + INSN).ok_or("has a relocation outside of its code")?;
            if insn[0] != LD_IMM64 {
                return Err(format!("names {name} in an instruction that loads no map"));
            }
            insn[1] = insn[1] & 0x0f | PSEUDO_MAP_FD << 4;
            insn[4..].copy_from_slice(&fd.to_le_bytes());
        }
        Ok(out)
    }
}

/// Just enough of ELF64, little-endian.
struct Elf<'a> {
    bytes: &'a [u8],
}

/// A section header: name, offset, size, link.
struct Section {
    name: usize,
    at: usize,
    size: usize,
    link: usize,
}

impl<'a> Elf<'a> {
    fn header(&self, index: usize) -> Option<Section> {
        let at = u64_at(self.bytes, 0x28)? as usize + index * 64;
        Some(Section {
            name: u32_at(self.bytes, at)? as usize,
            at: u64_at(self.bytes, at + 24)? as usize,
            size: u64_at(self.bytes, at + 32)? as usize,
            link: u32_at(self.bytes, at + 40)? as usize,
        })
    }

    fn content(&self, s: Section) -> Option<&'a [u8]> {
        self.bytes.get(s.at..s.at.checked_add(s.size)?)
    }

    fn section(&self, name: &str) -> Option<Section> {
        let count = u16_at(self.bytes, 0x3c)?;
        let names = self.content(self.header(usize::from(u16_at(self.bytes, 0x3e)?))?)?;
        (0..usize::from(count)).filter_map(|i| self.header(i)).find(|s| string_at(names, s.name) == Some(name))
    }

    fn symbol(&self, index: usize) -> Option<&'a str> {
        let table = self.section(".symtab")?;
        let names = self.content(self.header(table.link)?)?;
        string_at(names, u32_at(self.content(table)?, index * 24)? as usize)
    }
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(b.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(b.get(at..at + 8)?.try_into().ok()?))
}

fn string_at(b: &[u8], at: usize) -> Option<&str> {
    let tail = b.get(at..)?;
    std::str::from_utf8(&tail[..tail.iter().position(|&c| c == 0)?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_links_with_the_maps_it_names() {
        for object in [TC, XDP, TAP, PROXY_PORT, PROXY_VETH, PROXY_PICK] {
            let ours = |name: &str| (name.starts_with("sw_") || name.starts_with("px_")).then_some(7);
            let code = object.instructions(ours).unwrap();
            assert!(code.len() > 200 && code.len() % INSN == 0);
        }
    }

    #[test]
    fn a_map_that_nobody_made_is_named() {
        let err = TC.instructions(|_| None).unwrap_err();
        assert!(err.contains("unknown map sw_"), "{err}");
    }
}
