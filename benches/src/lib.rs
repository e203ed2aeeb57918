//! Benchmarks of Lockstep. Each prints one JSON line per figure, with what it was compared to in the
//! same run; `docs/performance.md` quotes only such pairs.
