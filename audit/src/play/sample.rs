//! Which jobs a watcher looks at.

use lockstep_vm::hash::{Hash, hash};

/// A share of all jobs that nobody can foretell who does not know the secret.
#[derive(Clone)]
pub struct Sample {
    secret: Hash,
    percent: u8,
}

impl Sample {
    /// So many percent of all jobs.
    #[must_use]
    pub fn new(secret: Hash, percent: u8) -> Self {
        Self { secret, percent }
    }

    /// Whether a job is one of them.
    #[must_use]
    pub fn takes(&self, job: u64) -> bool {
        let drawn = hash("lockstep/sample/v1", &[&self.secret, &job.to_le_bytes()]);
        let number = drawn.iter().take(4).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        // Of 2^32 numbers, so many hundredths.
        (number * 100) >> 32 < u64::from(self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_all_and_about_as_many_as_asked_for_are_taken() {
        let taken = |secret: u8, percent| {
            let sample = Sample::new([secret; 32], percent);
            (0..10_000).filter(|job| sample.takes(*job)).count()
        };
        assert_eq!((taken(1, 0), taken(1, 100)), (0, 10_000));
        assert!((900..1100).contains(&taken(1, 10)), "{}", taken(1, 10));
        let sample = |secret: u8| Sample::new([secret; 32], 50);
        assert!((0..100).any(|job| sample(1).takes(job) != sample(2).takes(job)));
        // Whoever looks at more looks at all that others did.
        let fewer = Sample::new([1; 32], 20);
        assert!((0..1000).all(|job| !fewer.takes(job) || sample(1).takes(job)));
    }
}
