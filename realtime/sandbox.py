"""Takes from this process every system call but those for computing and for what is open already: seccomp(2), on Linux.

A decoder that is taken over by a file can then open, link, rename or remove nothing, connect to nothing, start nothing and
look into no other process.
"""

import ctypes
import errno
import platform
import sys
from typing import NamedTuple

# include/uapi/linux/{prctl,seccomp,filter,audit}.h
PR_GET_SECCOMP = 21
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC = 1
RETURN_ALLOW = 0x7FFF0000
RETURN_ERRNO = 0x00050000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
OFFSET_OF_NUMBER, OFFSET_OF_ARCHITECTURE = 0, 4


class Architecture(NamedTuple):
    """``audit`` names it to the kernel; ``seccomp`` is the number of that call, ``allowed`` are those that stay."""

    audit: int
    seccomp: int
    allowed: tuple[int, ...]


# read write close fstat lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64 readv writev
# sched_yield mremap madvise getpid exit gettimeofday getrusage sigaltstack gettid futex sched_getaffinity
# restart_syscall clock_gettime clock_nanosleep exit_group newfstatat getrandom membarrier rseq
ARCHITECTURES = {
    "x86_64": Architecture(
        0xC000003E,
        317,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19, 20, 24, 25, 28, 39, 60, 96, 98, 131, 186, 202, 204, 219,
         228, 230, 231, 262, 318, 324, 334),
    ),
    "aarch64": Architecture(
        0xC00000B7,
        277,
        (63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 67, 65, 66, 124, 216, 233, 172, 93, 169, 165, 132, 178,
         98, 123, 128, 113, 115, 94, 79, 278, 283, 293),
    ),
}  # fmt: skip


class Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("true", ctypes.c_ubyte),
        ("false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction)))


def is_available() -> bool:
    """Whether ``restrict`` works here: a Linux of a known processor, whose kernel has seccomp."""
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        return False
    return bool(ctypes.CDLL(None).prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0)


def restrict() -> bool:
    """For all threads and for good; every other call fails with EPERM. False where it is not available."""
    if not is_available():
        return False
    architecture = ARCHITECTURES[platform.machine()]
    instructions = filter_of(architecture)
    program = Program(len(instructions), (Instruction * len(instructions))(*instructions))
    system = ctypes.CDLL(None, use_errno=True)
    if system.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(
        system.syscall(architecture.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(program))
        == 0
    )


def filter_of(architecture: Architecture) -> list[Instruction]:
    count = len(architecture.allowed)
    # Jumps count instructions: from the n-th comparison over the rest of them and the refusal.
    return [
        Instruction(LOAD_WORD, 0, 0, OFFSET_OF_ARCHITECTURE),
        Instruction(JUMP_IF_EQUAL, 0, count + 1, architecture.audit),
        Instruction(LOAD_WORD, 0, 0, OFFSET_OF_NUMBER),
        *(Instruction(JUMP_IF_EQUAL, count - number, 0, call) for number, call in enumerate(architecture.allowed)),
        Instruction(RETURN, 0, 0, RETURN_ERRNO | errno.EPERM),
        Instruction(RETURN, 0, 0, RETURN_ALLOW),
    ]
