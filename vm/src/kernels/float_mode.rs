//! Guards the floating-point mode of the thread that computes.
//!
//! Loading a library built with fast-math switches its thread to flush subnormals to zero, and a host
//! program may have set another rounding: either would change results. So the mode is looked at on each
//! entry, set right where it is not, and given back.

/// Runs `f` with round to nearest even, subnormals honoured and exceptions masked.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "reads and writes the thread's MXCSR")]
pub(crate) fn ieee<R>(f: impl FnOnce() -> R) -> R {
    /// Everything but the six sticky flags, which have no influence on results.
    const CONTROL: u32 = 0xffc0;
    /// All exceptions masked, round to nearest, neither flush-to-zero nor denormals-are-zero.
    const IEEE: u32 = 0x1f80;

    struct Restore(u32);
    impl Drop for Restore {
        fn drop(&mut self) {
            write(self.0);
        }
    }
    fn write(mode: u32) {
        // SAFETY: the value was read from the register, or is its value at reset.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack));
        }
    }
    let mut mode = 0_u32;
    // SAFETY: stores four bytes to a local that lives until after the instruction.
    unsafe {
        std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack));
    }
    if mode & CONTROL == IEEE {
        return f();
    }
    let _restore = Restore(mode);
    write(IEEE);
    f()
}

/// Runs `f`; other architectures start threads in the right mode and have no such libraries.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn ieee<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[expect(unsafe_code, reason = "sets the thread's MXCSR as a hostile library would")]
    fn set(mode: u32) {
        // SAFETY: a valid mode: flush-to-zero, denormals-are-zero and rounding up.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mode, options(nostack)) }
    }

    #[test]
    fn a_flushing_thread_computes_subnormals_and_gets_its_mode_back() {
        let half = || (black_box(f32::MIN_POSITIVE) * black_box(0.5)).to_bits();
        std::thread::spawn(move || {
            set(0x1f80 | 0x8040 | 0x4000);
            assert_eq!(half(), 0);
            assert_eq!(ieee(half), 0x0040_0000);
            assert_eq!(half(), 0);
        })
        .join()
        .unwrap();
    }
}
