//! What is written is read; a flipped bit anywhere is found.

use std::path::Path;

use tempfile::tempdir;

use super::*;
use crate::replay::{Options, run};
use crate::report::{Difference, Verdict};
use crate::sample::Sample;
use crate::source::{Entry, Source as _};
use crate::{Result, Stop};

fn chain() -> Sample {
    let mut chain = Sample::new(2, 4).unwrap();
    for count in [1, 0, 2, 1] {
        let txs = chain.transfers(count);
        chain.block(txs).unwrap();
    }
    chain
}

fn write(chain: &Sample, folder: &Path) {
    let mut writer = Writer::open(folder, chain.genesis.as_bytes()).unwrap();
    for entry in &chain.entries {
        writer.append(entry).unwrap();
    }
    writer.flush().unwrap();
}

fn open(folder: &Path) -> Result<Archive> {
    Archive::open(Place::Folder(folder.to_owned())).map(|found| found.expect("an archive"))
}

fn all(folder: &Path) -> Result<Vec<Entry>> {
    open(folder)?.entries(1, 100)
}

#[test]
fn what_was_written_is_read() {
    let (chain, folder) = (chain(), tempdir().unwrap());
    write(&chain, folder.path());
    assert_eq!(verify(folder.path(), &mut |_| {}).unwrap(), 4);
    assert_eq!(all(folder.path()).unwrap(), chain.entries);
    let mut archive = open(folder.path()).unwrap();
    assert_eq!(archive.genesis().unwrap(), chain.genesis.as_bytes());
    // In any pieces.
    assert_eq!(archive.entries(2, 1).unwrap(), chain.entries[1..2]);
    assert_eq!(archive.entries(3, 9).unwrap(), chain.entries[2..]);
    assert_eq!(archive.entries(1, 2).unwrap(), chain.entries[..2]);
    assert_eq!(archive.entries(5, 1).unwrap_err().exit_code(), 11);
}

#[test]
fn an_archive_is_continued_where_it_ended_and_keeps_no_old_file() {
    let (chain, folder) = (chain(), tempdir().unwrap());
    for entry in &chain.entries {
        let mut writer = Writer::open(folder.path(), chain.genesis.as_bytes()).unwrap();
        writer.append(entry).unwrap();
        assert!(writer.append(entry).is_err(), "a height twice");
        writer.flush().unwrap();
    }
    let straight = tempdir().unwrap();
    write(&chain, straight.path());
    let files = |folder: &Path| {
        let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names.iter().map(|name| std::fs::read(folder.join(name)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(files(folder.path()), files(straight.path()));
    let other = Sample::new(2, 5).unwrap();
    let refused = Writer::open(folder.path(), other.genesis.as_bytes()).unwrap_err();
    assert!(refused.to_string().contains("another chain"), "{refused}");
}

#[test]
fn an_archive_that_grows_meanwhile_is_read_to_the_end_that_it_had() {
    let (chain, folder) = (chain(), tempdir().unwrap());
    let mut writer = Writer::open(folder.path(), chain.genesis.as_bytes()).unwrap();
    writer.append(&chain.entries[0]).unwrap();
    writer.append(&chain.entries[1]).unwrap();
    writer.flush().unwrap();
    let mut archive = open(folder.path()).unwrap();
    // The segment that the index listed goes, a longer one comes.
    writer.append(&chain.entries[2]).unwrap();
    writer.flush().unwrap();
    assert_eq!(archive.heights().unwrap().last, 2);
    assert_eq!(archive.entries(1, 2).unwrap(), chain.entries[..2]);
    assert_eq!(archive.entries(3, 1).unwrap(), chain.entries[2..3]);
    std::fs::remove_file(folder.path().join("0000000001-0000000003.blocks")).unwrap();
    let stop = open(folder.path()).unwrap().entries(1, 1).unwrap_err();
    assert!(stop.to_string().contains("which its index lists"), "{stop}");
}

#[test]
fn a_file_of_another_length_than_the_index_says_is_not_read_to_its_end() {
    let (chain, folder) = (chain(), tempdir().unwrap());
    write(&chain, folder.path());
    let segment = open(folder.path()).unwrap().index().segments[0].clone();
    let path = folder.path().join(&segment.file);
    let right = std::fs::read(&path).unwrap();
    std::fs::write(&path, [right.as_slice(), &[0]].concat()).unwrap();
    let found = audit(&chain, folder.path()).unwrap();
    assert_eq!(found.what, format!("archive file {}: its length", segment.file));
    std::fs::write(&path, &right).unwrap();
    let mut index = open(folder.path()).unwrap().index().clone();
    for (bytes, read) in [(right.len() as u64 + 1, true), (FILE_BYTES_MAX + 1, false)] {
        index.segments[0].bytes = bytes;
        std::fs::write(folder.path().join(INDEX), index.encode()).unwrap();
        assert_eq!(open(folder.path()).is_ok(), read);
        assert!(matches!(verify(folder.path(), &mut |_| {}), Err(Stop::Difference(_))));
    }
}

#[test]
fn what_was_not_flushed_is_not_there_and_a_crash_leaves_the_last_whole_archive() {
    let (chain, folder) = (chain(), tempdir().unwrap());
    let mut writer = Writer::open(folder.path(), chain.genesis.as_bytes()).unwrap();
    writer.append(&chain.entries[0]).unwrap();
    writer.flush().unwrap();
    writer.append(&chain.entries[1]).unwrap();
    drop(writer);
    std::fs::write(folder.path().join("0000000001-0000000002.blocks.new"), b"half").unwrap();
    assert_eq!(verify(folder.path(), &mut |_| {}).unwrap(), 1);
    let mut writer = Writer::open(folder.path(), chain.genesis.as_bytes()).unwrap();
    chain.entries[1..].iter().for_each(|entry| writer.append(entry).unwrap());
    writer.flush().unwrap();
    assert_eq!(verify(folder.path(), &mut |_| {}).unwrap(), 4);
}

/// The audit of an archive in a folder.
fn audit(chain: &Sample, folder: &Path) -> Option<Difference> {
    let found = open(folder).and_then(|mut archive| {
        archive.genesis()?;
        run(chain.file(), &mut archive, &Options::default(), &mut [], &mut |_| {})
    });
    match found {
        Ok(ended) => {
            assert_ne!(ended.report.verdict, Verdict::Incomplete, "{:?}", ended.report.incomplete);
            ended.report.difference
        }
        Err(Stop::Difference(difference)) => Some(*difference),
        Err(stop) => panic!("{stop}"),
    }
}

#[test]
fn a_flipped_bit_anywhere_in_an_archive_is_found_by_both_and_named_with_its_height() {
    let (chain, folder) = (chain(), tempdir().unwrap());
    write(&chain, folder.path());
    assert_eq!(audit(&chain, folder.path()), None);
    let index = open(folder.path()).unwrap().index().clone();
    let segment = &index.segments[0];
    for name in [INDEX, GENESIS, &segment.file] {
        let path = folder.path().join(name);
        let right = std::fs::read(&path).unwrap();
        for at in (0..right.len()).step_by(if name == segment.file { 17 } else { 5 }) {
            let mut wrong = right.clone();
            wrong[at] ^= 1 << (at % 8);
            std::fs::write(&path, wrong).unwrap();
            let verified = verify(folder.path(), &mut |_| {});
            assert!(matches!(verified, Err(Stop::Difference(_))), "{name} {at}: {verified:?}");
            let found = audit(&chain, folder.path());
            let found = found.unwrap_or_else(|| panic!("{name}, byte {at}: not found"));
            if name == segment.file {
                assert!(found.height.is_some(), "byte {at}: {found}");
            }
        }
        std::fs::write(&path, right).unwrap();
    }
    assert_eq!(audit(&chain, folder.path()), None);
}

#[test]
fn a_flipped_bit_of_a_transaction_is_named_with_its_place() {
    let (chain, folder) = (chain(), tempdir().unwrap());
    write(&chain, folder.path());
    let path = folder.path().join(&open(folder.path()).unwrap().index().segments[0].file);
    let mut bytes = std::fs::read(&path).unwrap();
    let tx = &chain.entries[2].block.data.as_ref().unwrap().txs[2];
    let at = bytes.windows(tx.len()).position(|part| part == tx.as_slice()).unwrap();
    bytes[at + tx.len() / 2] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let found = audit(&chain, folder.path()).unwrap();
    assert_eq!((found.height, found.tx.as_ref().unwrap().index), (Some(3), 2), "{found}");
    assert!(found.note.contains("checksum"), "{}", found.note);
}
