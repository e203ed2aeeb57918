//! One process per data folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use lockstep_chain::error::Fault;
use rustix::fs::{FlockOperation, flock};

/// Released when it is dropped and when the process ends, however that happens.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl Drop for FolderLock {
    fn drop(&mut self) {
        // To close the file is not enough: a child that is being started shares it until it runs. What
        // fails here ends with the process.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl FolderLock {
    pub(super) fn acquire(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join("lock");
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Fault::Storage(format!("cannot {what} {}: {error}", path.display()))
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| failed("open", &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(folder, &mut file)),
            Err(error) => return Err(failed("lock", &error)),
        }
        let process = std::process::id();
        let command = std::env::args_os().next().unwrap_or_default();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{process} {}", Path::new(&command).display()))
            .map_err(|error| failed("write", &error))?;
        Ok(Self(file))
    }
}

fn held(folder: &Path, file: &mut File) -> Fault {
    let mut holder = String::new();
    let read = file.take(4096).read_to_string(&mut holder);
    let holder = match (read, holder.trim().split_once(' ')) {
        (Ok(_), Some((process, command))) => format!("process {process} ({command})"),
        _ => "another process".to_owned(),
    };
    Fault::Storage(format!(
        "the data folder {} is in use by {holder}\n\
         hint: stop that process, or name another folder",
        folder.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_dropped_is_free_though_a_child_still_shares_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path()).unwrap();
        let shared = lock.0.try_clone().unwrap();
        assert!(FolderLock::acquire(folder.path()).is_err());
        drop(lock);
        FolderLock::acquire(folder.path()).unwrap();
        drop(shared);
    }
}
