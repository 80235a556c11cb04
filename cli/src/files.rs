//! Local files: read with a limit, written whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Longest file that is read into memory, in bytes (1 GiB).
pub(crate) const MAX_FILE: u64 = 1 << 30;

/// Reads a file of at most `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let fail = |error: io::Error| Failure::file("read", path, &error);
    let file = File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > max {
        let message = format!("{}: longer than {max} bytes", path.display());
        return Err(Failure::refused("file.too_large", message).at(path.display().to_string()));
    }
    Ok(bytes)
}

/// Reads a text file of at most `max` bytes.
pub(crate) fn read_text(path: &Path, max: u64) -> Result<String, Failure> {
    String::from_utf8(read(path, max)?).map_err(|_| {
        let message = format!("{}: expected UTF-8 text", path.display());
        Failure::refused("file.not_text", message).at(path.display().to_string())
    })
}

/// Creates a file that only its owner may read, synced; one that exists is never overwritten.
pub(crate) fn create_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    create(path, bytes, 0o600).map_err(|error| Failure::file("create", path, &error))
}

/// Creates a file, synced; one that exists is never overwritten.
pub(crate) fn create_public(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    create(path, bytes, 0o644).map_err(|error| Failure::file("create", path, &error))
}

/// Creates these files, or none of them; one that exists is never overwritten.
pub(crate) fn create_all_public(files: &[(&Path, &[u8])]) -> Result<(), Failure> {
    for (at, (path, bytes)) in files.iter().enumerate() {
        create_public(path, bytes).inspect_err(|_| {
            for (made, _) in &files[..at] {
                let _ = std::fs::remove_file(made);
            }
        })?;
    }
    Ok(())
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        // Half a file would be in the way of the next run.
        let _ = std::fs::remove_file(path);
    })
}

/// Puts a file with this content, readable by its owner only, in the place of `path`; readers see the old
/// or the new one, whole.
pub(crate) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let unfinished = unfinished_beside(path)?;
    let done = create(&unfinished, bytes, 0o600)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .and_then(|()| sync_parent(path));
    done.map_err(|error| {
        // Where the rename came through, nothing is left to remove.
        let _ = std::fs::remove_file(&unfinished);
        Failure::file("replace", path, &error)
    })
}

/// A name beside `path`, on the same file system, that nothing has.
pub(crate) fn unfinished_beside(path: &Path) -> Result<PathBuf, Failure> {
    let name = path.file_name().ok_or_else(|| {
        let message = format!("{}: expected the name of a file or folder", path.display());
        Failure::usage("path", message)
    })?;
    let mut unfinished = std::ffi::OsString::from(".");
    unfinished.push(name);
    unfinished.push(format!(".{}.tmp", hex::encode(random::<8>()?)));
    Ok(path.with_file_name(unfinished))
}

/// Makes durable which names the folder of `path` holds.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Random bytes, fit for keys.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::unavailable("system.no_randomness", format!("random numbers: {error}"))
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_replaced_file_is_private_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create_public(&path, b"one").unwrap();
        replace_private(&path, b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"two");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_over_the_limit_or_in_the_way_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        create_private(&path, b"1234").unwrap();
        assert_eq!(read(&path, 3).unwrap_err().code, "file.too_large");
        assert_eq!(create_private(&path, b"x").unwrap_err().code, "file.exists");
        assert_eq!(
            read(&dir.path().join("b"), 3).unwrap_err().code,
            "file.not_found"
        );
    }
}
