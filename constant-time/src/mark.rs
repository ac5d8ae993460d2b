//! The one piece of unsafe code: requests to memcheck, as `valgrind.h` and `memcheck.h` define them for x86-64. Outside
//! valgrind the sequence rotates a register once around and does nothing.
#![allow(unsafe_code)]

use std::arch::asm;

const MAKE_UNDEFINED: u64 = 0x4d43_0001;
const MAKE_DEFINED: u64 = 0x4d43_0002;
const RUNNING_ON_VALGRIND: u64 = 0x1001;

fn request(number: u64, address: u64, length: u64) -> u64 {
    let arguments = [number, address, length, 0, 0, 0];
    let mut answer = 0_u64;
    // SAFETY: the four rotations add up to 128 bits, which leaves rdi as it was; `xchg rbx, rbx` does nothing. Valgrind
    // reads the six words at rax and answers in rdx; of the memory that they name it changes only its own shadow.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") answer,
            options(nostack)
        );
    }
    answer
}

/// Whether memcheck watches.
pub(crate) fn watched() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0) != 0
}

/// From now on these bytes are secret: memcheck takes them for never written, and follows them into whatever is computed
/// from them.
pub(crate) fn secret(bytes: &[u8]) {
    request(MAKE_UNDEFINED, bytes.as_ptr() as u64, bytes.len() as u64);
}

/// These bytes may be known.
pub(crate) fn public(bytes: &[u8]) {
    request(MAKE_DEFINED, bytes.as_ptr() as u64, bytes.len() as u64);
}
