use std::io::Cursor;

use super::*;
use crate::hash::hash;
use crate::merkle::Tree;
use crate::program::tests::small;
use crate::program::{Activations, FORMAT, Index, Input, Op, Program, Tensor, verify};

/// Values for every tensor of a program; deterministic, within the rules.
pub(crate) fn artefact(program: &Program, files: &[(&str, &[u8])]) -> Vec<u8> {
    let attachments = files.iter().map(|(name, content)| Attachment::of(name, content)).collect();
    let description = Description { family: "test".into(), attachments };
    let mut writer = Writer::new(Cursor::new(Vec::new()), program.clone(), description).unwrap();
    let mut state = 7_u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i16::try_from(state >> 24).unwrap() - 128
    };
    for tensor in &program.tensors {
        match *tensor {
            Tensor::I8 { rows, cols } => {
                let cells: Vec<i8> =
                    (0..rows * cols).map(|_| i8::try_from(next().max(-127)).unwrap()).collect();
                let scales: Vec<f32> = (0..rows).map(|_| f32::from(next()) / 1e4).collect();
                writer.matrix(&cells, cols as usize, &scales).unwrap();
            }
            Tensor::F32 { rows, cols } => {
                let values: Vec<f32> = (0..rows * cols).map(|_| f32::from(next()) / 64.0).collect();
                writer.table(&values, cols as usize).unwrap();
            }
        }
    }
    for (_, content) in files {
        writer.attachment(content).unwrap();
    }
    writer.finish().unwrap().0.into_inner()
}

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, ArtefactError> {
    Reader::new(Cursor::new(bytes))
}

/// Everything that is wrong with a file, in words.
fn wrong(bytes: &[u8]) -> String {
    open(bytes).and_then(|mut reader| validate(&mut reader)).expect_err("refused").to_string()
}

/// A program around one matrix and one table of any size.
fn around(rows: u32, cols: u32) -> Program {
    Program {
        format: FORMAT,
        input: Input::TokenIds { vocabulary: 3, tokens_max: 2 },
        tensors: vec![Tensor::F32 { rows: 3, cols }, Tensor::I8 { rows, cols }],
        ops: vec![
            Op::Embed { table: 0, index: Index::Tokens },
            Op::Linear {
                x: 0,
                weight: 1,
                bias: None,
                smoothing: None,
                activations: Activations::Bits8,
            },
            Op::PoolMean { x: 1 },
        ],
        output: 2,
    }
}

#[test]
fn a_whole_file_is_valid_and_every_leaf_proves_possession() {
    let bytes = artefact(&small(), &[("a.json", b"{}"), ("tokenizer.json", &vec![7; 40_000])]);
    let mut reader = open(&bytes).unwrap();
    let hashes = validate(&mut reader).unwrap();
    let manifest = reader.manifest().clone();
    assert_eq!(manifest.root(), hash("lockstep/artefact/v1", &[manifest.encode()]));
    assert_eq!(manifest.leaf_count(), hashes.len() as u64);
    let tree = Tree::new(hashes);
    assert_eq!(tree.root(), manifest.leaves_root());
    for index in 0..manifest.leaf_count() {
        let (leaf, path) = (reader.leaf(index).unwrap(), tree.path(index).unwrap());
        assert_eq!(manifest.leaf_len(index), Some(leaf.len()));
        assert_eq!(manifest.verify_leaf(index, &leaf, &path), Ok(()));
        let other = (index + 1) % manifest.leaf_count();
        assert!(manifest.verify_leaf(other, &leaf, &path).is_err());
        let mut changed = leaf.clone();
        changed[0] ^= 1;
        assert_eq!(manifest.verify_leaf(index, &changed, &path), Err(LeafError::Root));
    }
    assert_eq!(manifest.leaf_len(manifest.leaf_count()), None);
    assert_eq!(reader.attachment("tokenizer.json").unwrap(), vec![7; 40_000]);
    assert_eq!(
        reader.attachment("missing").unwrap_err().to_string(),
        "the artefact has no attachment `missing`"
    );
}

#[test]
fn blocks_are_64_by_512_with_smaller_edges_and_tables_go_by_whole_rows() {
    let tensors = [
        Tensor::I8 { rows: 130, cols: 600 },
        Tensor::F32 { rows: 50, cols: 384 },
        Tensor::F32 { rows: 2, cols: 9000 },
    ];
    let layout = Layout::new(&tensors, &[32_769]);
    let spans: Vec<_> = (0..layout.leaf_count()).map(|leaf| layout.span(leaf).unwrap()).collect();
    let shapes: Vec<_> = spans.iter().map(|s| (s.row, s.rows, s.col, s.cols)).collect();
    assert_eq!(
        shapes,
        [
            (0, 64, 0, 512),
            (0, 64, 512, 88),
            (64, 64, 0, 512),
            (64, 64, 512, 88),
            (128, 2, 0, 512),
            (128, 2, 512, 88),
            (0, 1, 0, 130),
            (0, 21, 0, 384),
            (21, 21, 0, 384),
            (42, 8, 0, 384),
            (0, 1, 0, 8192),
            (0, 1, 8192, 808),
            (1, 1, 0, 8192),
            (1, 1, 8192, 808),
            (0, 1, 0, 32_768),
            (0, 1, 32_768, 1),
        ]
    );
    let mut offset = 0;
    for (leaf, span) in (0..).zip(&spans) {
        assert_eq!(layout.offset(leaf), Some(offset), "leaf {leaf}");
        assert!(span.bytes() <= crate::limits::LEAF_BYTES_MAX);
        offset += span.bytes() as u64;
    }
    assert_eq!(layout.bytes(), offset);
    assert_eq!(layout.offset(layout.leaf_count()), None);
}

#[test]
fn matrices_and_tables_come_back_in_place_from_any_shape() {
    for (rows, cols) in [(1, 1), (63, 511), (64, 512), (65, 513), (130, 1025), (7, 9000)] {
        let program = around(rows, cols);
        let bytes = artefact(&program, &[]);
        let mut reader = open(&bytes).unwrap();
        let mut cells = vec![None; (rows * cols) as usize];
        let layout = reader.manifest().layout().clone();
        reader
            .each_leaf(|index, leaf| {
                let span = layout.span(index).unwrap();
                if span.content == Content::Weights(1) {
                    for (at, byte) in (0..).zip(leaf) {
                        let (row, col) = (span.row + at / span.cols, span.col + at % span.cols);
                        let cell = &mut cells[(row * cols + col) as usize];
                        assert!(cell.replace(*byte).is_none(), "written twice");
                    }
                }
            })
            .unwrap();
        assert!(cells.iter().all(Option::is_some), "{rows} by {cols}");
    }
}

#[test]
fn a_file_cut_anywhere_is_truncated_and_says_where() {
    let bytes = artefact(&small(), &[("tokenizer.json", b"{}")]);
    for length in 0..bytes.len() {
        let words = wrong(&bytes[..length]);
        assert!(words.starts_with("the artefact is truncated: "), "{length}: {words}");
        assert!(
            words.ends_with(&format!("{length} bytes, {length} are there"))
                || words.contains(&format!(", {length} are there"))
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(wrong(&longer), "the artefact has 1 bytes after its last leaf");
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = artefact(&small(), &[("tokenizer.json", b"{}")]);
    let mut reader = open(&bytes).unwrap();
    validate(&mut reader).unwrap();
    let root = reader.manifest().root();
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let found = open(&changed).and_then(|mut reader| {
                validate(&mut reader)?;
                Ok(reader.manifest().root())
            });
            // What still makes sense (another eps, say) is another artefact.
            assert!(found.is_err() || found.unwrap() != root, "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_weight_of_minus_128_and_a_constant_that_is_not_finite_are_refused_by_writer_and_reader() {
    let program = around(2, 2);
    let description = || Description { family: "test".into(), attachments: Vec::new() };
    let writer = || Writer::new(Cursor::new(Vec::new()), program.clone(), description()).unwrap();
    let error = writer().table(&[1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0], 2).unwrap_err().to_string();
    assert_eq!(
        error,
        "leaf 0 at byte 0: value 3 of the leaf, in tensor 0, is infinite or not a number"
    );
    let mut filled = writer();
    filled.table(&[0.5; 6], 2).unwrap();
    let error = filled.matrix(&[1, 2, -128, 3], 2, &[1.0, 1.0]).unwrap_err().to_string();
    assert_eq!(
        error,
        "leaf 1 at byte 24: weight 2 of the leaf, in tensor 1, is -128; allowed are -127 to 127"
    );
    assert!(filled.finish().is_err());

    let good = artefact(&program, &[]);
    let first = good.len() - 6 * 4 - 4 - 2 * 4;
    let mut bad = good.clone();
    bad[first + 24 + 1] = 0x80;
    let words = wrong(&bad);
    assert!(words.contains(&format!("leaf 1 at byte {}: weight 1", first + 24)), "{words}");
    let mut bad = good;
    bad[first + 4..first + 8].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    assert!(wrong(&bad).contains(&format!("leaf 0 at byte {first}: value 1")));
}

#[test]
fn a_malformed_leaf_that_leads_to_the_root_is_told_from_a_wrong_one() {
    let program = around(1, 1);
    let layout = Layout::new(&program.tensors, &[]);
    let leaves: Vec<Vec<u8>> = vec![vec![0; 12], vec![0x80], vec![0; 4]];
    let hashes = (0..).zip(&leaves).map(|(i, leaf)| crate::merkle::leaf_hash(i, leaf)).collect();
    let tree = Tree::new(hashes);
    assert_eq!(layout.leaf_count(), 3);
    let description = Description { family: "test".into(), attachments: Vec::new() };
    let manifest = Manifest::new(&program, description, tree.root()).unwrap();
    let path = tree.path(1).unwrap();
    assert_eq!(
        manifest.verify_leaf(1, &[0x80], &path),
        Err(LeafError::Weight { tensor: 1, at: 0 })
    );
    assert_eq!(manifest.verify_leaf(1, &[0x81], &path), Err(LeafError::Root));
}

#[test]
fn names_and_counts_in_a_manifest_are_bounded() {
    let program = around(1, 1);
    let refused = |family: &str, names: &[&str], bytes: u64| {
        let attachments = names
            .iter()
            .map(|name| Attachment { name: (*name).to_owned(), bytes, hash: [0; 32] })
            .collect();
        let description = Description { family: family.into(), attachments };
        Manifest::new(&program, description, [0; 32]).err().map(|error| error.to_string())
    };
    assert_eq!(refused("bert", &["a", "b"], 1), None);
    for (family, names, bytes) in [
        ("", &[][..], 1),
        ("Bert", &[], 1),
        ("bert", &["b", "a"], 1),
        ("bert", &["a", "a"], 1),
        ("bert", &["../a"], 1),
        ("bert", &["a"], 0),
        ("bert", &["a"], u64::MAX),
        ("bert", &["a", "b", "c", "d", "e", "f", "g", "h", "i"], 1),
    ] {
        assert!(refused(family, names, bytes).is_some(), "{family} {names:?} {bytes}");
    }
}

#[test]
fn a_manifest_that_is_cut_changed_or_padded_is_refused_or_another_one() {
    let bytes = artefact(&small(), &[("tokenizer.json", b"{}")]);
    let manifest = open(&bytes).unwrap().manifest().clone();
    let good = manifest.encode();
    assert_eq!(Manifest::decode(good).unwrap(), manifest);
    for length in 0..good.len() {
        assert!(Manifest::decode(&good[..length]).is_err());
    }
    assert!(Manifest::decode(&[good, &[0]].concat()).is_err());
    for at in 0..good.len() {
        let mut changed = good.to_vec();
        changed[at] ^= 0x10;
        if let Ok(other) = Manifest::decode(&changed) {
            assert_ne!(other.root(), manifest.root());
            assert!(verify(other.verified().program().clone()).is_ok());
        }
    }
}

#[test]
fn files_are_written_beside_and_moved_into_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.lockstep");
    let program = around(1, 1);
    let description = Description { family: "test".into(), attachments: Vec::new() };
    let mut writer = Writer::create(&path, program, description).unwrap();
    writer.table(&[1.0, 2.0, 3.0], 1).unwrap();
    writer.matrix(&[5], 1, &[0.5]).unwrap();
    assert!(!path.exists(), "nothing is there before it is complete");
    let manifest = writer.persist(&path).unwrap();
    assert_eq!(validate_file(&path).unwrap(), manifest);
    assert_eq!(leaf_hashes(&path).unwrap().len() as u64, manifest.leaf_count());
    let missing = validate_file(&folder.path().join("none")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot access ") && missing.contains("none"), "{missing}");
    let text = wrong(b"this is not a model, it is a line of text");
    assert!(text.starts_with("this is no artefact: it does not begin with LOCKSTEP"), "{text}");
}
