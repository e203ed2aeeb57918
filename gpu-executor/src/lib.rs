//! gpu-executor
