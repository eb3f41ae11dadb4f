//! Writes what crosses the wire as pcapng (draft-ietf-opsawg-pcapng): interface 0 is the access port, 1 the core port,
//! each frame inbound or outbound, times in ns.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::world::Captured;

/// A file being written.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Writer {
    /// Replaces the file. The error is one sentence.
    pub fn create(path: &Path) -> Result<Writer, String> {
        let file = File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        let mut writer = Writer { file: BufWriter::new(file), path: path.into() };
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        writer.block(0x0a0d_0d0a, &section)?;
        for name in ["access", "core"] {
            let mut interface = vec![1, 0, 0, 0, 0, 0, 0, 0];
            option(&mut interface, 2, name.as_bytes());
            option(&mut interface, 9, &[9]);
            writer.block(1, &interface)?;
        }
        Ok(writer)
    }

    /// Appends frames and hands them to the file.
    pub fn write(&mut self, frames: &[Captured]) -> Result<(), String> {
        for f in frames {
            let length = (f.frame.len() as u32).to_le_bytes();
            let mut body = (f.side as u32).to_le_bytes().to_vec();
            body.extend(((f.now >> 32) as u32).to_le_bytes());
            body.extend((f.now as u32).to_le_bytes());
            body.extend(length);
            body.extend(length);
            body.extend(&f.frame);
            pad(&mut body);
            option(&mut body, 2, &[if f.out { 2 } else { 1 }, 0, 0, 0]);
            self.block(6, &body)?;
        }
        self.file.flush().map_err(|e| format!("cannot write {}: {e}", self.path.display()))
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> Result<(), String> {
        let mut block = kind.to_le_bytes().to_vec();
        let length = (body.len() as u32 + 12).to_le_bytes();
        block.extend(length);
        block.extend(body);
        block.extend(length);
        self.file.write_all(&block).map_err(|e| format!("cannot write {}: {e}", self.path.display()))
    }
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// Appends an option, which ends the options until the next is appended: an absent end-of-options is allowed.
fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}
