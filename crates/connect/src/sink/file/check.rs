//! Whether files could be written, found out without writing one.

use std::path::Path;

use rustix::fs::{Access, access};

use super::folder::Folder;
use crate::failure::Finding;

/// What is to be said of the folder.
pub(super) fn folder(folder: &Folder) -> Vec<Finding> {
    let path = &folder.path;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let shown = path.display();
    let mut findings = Vec::new();
    if path.is_dir() {
        findings.push(writable(path, format!("folder {shown} can be written")));
        findings.extend(disk(path));
    } else if path.exists() {
        let text = format!("{shown} is no folder");
        findings.push(Finding::fault(text, "name a folder as path"));
    } else if parent.is_dir() {
        findings
            .push(writable(parent, format!("folder {shown} is not there yet, and is made by run")));
        findings.extend(disk(parent));
    } else {
        let text = format!("folder {} is not there", parent.display());
        findings.push(Finding::fault(text, "make it, or mount what should be there"));
    }
    findings
}

fn writable(path: &Path, text: String) -> Finding {
    match access(path, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Finding::good(text),
        Err(error) => Finding::fault(
            format!("folder {} cannot be written: {error}", path.display()),
            "let the user that runs galgo connect write there, or name another path",
        ),
    }
}

/// Whether it is a disk of this machine, as far as that is known.
#[cfg(target_os = "linux")]
fn disk(path: &Path) -> Option<Finding> {
    // NFS, SMB and CIFS, FUSE: numbers of the kernel, linux/magic.h.
    const REMOTE: [(u32, &str); 4] =
        [(0x6969, "NFS"), (0xFE53_4D42, "SMB"), (0xFF53_4D42, "SMB"), (0x6573_5546, "FUSE")];
    let about = rustix::fs::statfs(path).ok()?;
    let kind = u32::try_from(about.f_type & 0xFFFF_FFFF).ok()?;
    let (_, name) = REMOTE.iter().find(|(number, _)| *number == kind)?;
    Some(Finding::warning(
        format!("folder {} is on {name}", path.display()),
        "name a path on a local disk: locks and syncs over a network promise less, and so can the files",
    ))
}

#[cfg(not(target_os = "linux"))]
fn disk(_: &Path) -> Option<Finding> {
    None
}
