//! Every bound of this crate, in one place. Raising one needs no new format, lowering one does.

/// Bytes of a program's canonical encoding.
pub const PROGRAM_BYTES_MAX: usize = 248 * 1024;
/// Bytes of an artefact's manifest, which holds the program.
pub const MANIFEST_BYTES_MAX: usize = 256 * 1024;
/// Tensors that a program declares.
pub const TENSORS_MAX: usize = 8192;
/// Operators of a program.
pub const OPS_MAX: usize = 8192;
/// Rows of a tensor.
pub const ROWS_MAX: u32 = 1 << 20;
/// Columns of a tensor or value; the sums of squares in norms hold in 64 bits up to here.
pub const COLS_MAX: u32 = 1 << 17;
/// Depth of a matrix product: i32 accumulators cannot overflow up to here, even with a -128.
pub const DEPTH_MAX: u32 = 131_071;
/// Token ids of one input.
pub const TOKENS_MAX: u32 = 8192;
/// Size of a vocabulary.
pub const VOCABULARY_MAX: u32 = ROWS_MAX;
/// Attention heads.
pub const HEADS_MAX: u32 = 1024;
/// Columns of one head: a step of attention holds sums for 16 rows of them.
pub const HEAD_DIM_MAX: u32 = 256;
/// Values of an output: the last step of a trace opens all of them.
pub const OUTPUT_VALUES_MAX: u32 = 16_384;
/// Bytes of one leaf of an artefact or input.
pub const LEAF_BYTES_MAX: usize = 32 * 1024;
/// Rows of a block of a weight matrix.
pub const BLOCK_ROWS: u32 = 64;
/// Columns of a block of a weight matrix.
pub const BLOCK_COLS: u32 = 512;
/// f32 values in one leaf.
pub const LEAF_VALUES_MAX: u32 = 8192;
/// Rows of a tile of an output.
pub const TILE_ROWS: usize = 16;
/// Columns of a tile of an output.
pub const TILE_COLS: usize = 64;
/// Leaves of the Merkle tree of an artefact, an input or an output.
pub const LEAVES_MAX: u64 = 1 << 24;
/// Leaves of the Merkle tree of a trace.
pub const TRACE_LEAVES_MAX: u64 = 1 << 30;
/// Bytes of what proves one step of a trace.
pub const WITNESS_BYTES_MAX: usize = 128 * 1024;
/// Bytes of all leaves of an artefact.
pub const ARTEFACT_BYTES_MAX: u64 = 1 << 36;
/// Files that travel with an artefact.
pub const ATTACHMENTS_MAX: usize = 8;
/// Bytes of one such file.
pub const ATTACHMENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of its name, and of the family's.
pub const NAME_BYTES_MAX: usize = 64;
/// Integer multiply-adds of one run.
pub const MACS_MAX: u64 = 1 << 56;
/// Working memory of one run, in bytes.
pub const MEMORY_BYTES_MAX: u64 = 1 << 40;
