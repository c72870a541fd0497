//! A division that traps on this machine → what arm64 gives for it.
//!
//! x86_64 ends a program that divides by zero, or the lowest number by -1 (Intel's manual, volume 2,
//! `DIV` and `IDIV`: #DE). arm64 gives zero and the lowest number, and has no such trap (Arm's
//! manual, `SDIV`; the remainder is computed from the quotient). From the bytes of the instruction
//! and the registers: its length, and the registers after it. Divisions that no compiler makes of a
//! `/` or `%` in C have no answer.

/// Registers by their numbers in instructions (`rax`, `rcx`, `rdx`, `rbx`, `rsp`, `rbp`, `rsi`,
/// `rdi`, `r8` and so on).
pub type Registers = [u64; 16];

/// After the division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divided {
    /// Length of the instruction, in bytes.
    pub length: u64,
    /// `rax`.
    pub rax: u64,
    /// `rdx`.
    pub rdx: u64,
}

/// What the instruction at `at` gives, which trapped. `byte` reads the memory of the program.
pub fn divided(
    at: u64,
    registers: &Registers,
    byte: &mut impl FnMut(u64) -> u8,
) -> Option<Divided> {
    let mut code = Code { at, byte };
    let instruction = code.instruction(registers)?;
    let Instruction { size, signed, place } = instruction;
    let all = u64::MAX >> (64 - 8 * size);
    let lowest = all ^ (all >> 1);
    let divisor = match place {
        Place::Value(value) => value & all,
        Place::Memory { address, relative } => {
            let address = if relative { address.wrapping_add(code.at) } else { address };
            code.number(address, size)
        }
    };
    let (rax, rdx) = (register(registers, 0), register(registers, 2));
    let (low, high) = match size {
        1 => (rax & all, (rax >> 8) & all),
        _ => (rax & all, rdx & all),
    };
    // What is divided is a number of this size, not of twice the size.
    if high != if signed && low & lowest != 0 { all } else { 0 } {
        return None;
    }
    let (quotient, rest) = match divisor {
        0 => (0, low),
        _ if signed && low == lowest && divisor == all => (lowest, 0),
        _ => return None,
    };
    let (rax, rdx) = match size {
        1 => (rax & !0xffff | rest << 8 | quotient, rdx),
        2 => (rax & !all | quotient, rdx & !all | rest),
        _ => (quotient, rest),
    };
    Some(Divided { length: code.at.wrapping_sub(at), rax, rdx })
}

/// A division.
struct Instruction {
    /// Of the numbers, in bytes.
    size: u64,
    signed: bool,
    place: Place,
}

/// The divisor.
enum Place {
    Value(u64),
    /// `relative`: to the next instruction.
    Memory {
        address: u64,
        relative: bool,
    },
}

/// The bytes of an instruction.
struct Code<'a, F> {
    at: u64,
    byte: &'a mut F,
}

impl<F: FnMut(u64) -> u8> Code<'_, F> {
    fn next(&mut self) -> u8 {
        let byte = (self.byte)(self.at);
        self.at = self.at.wrapping_add(1);
        byte
    }

    /// A number of `size` bytes somewhere in memory.
    fn number(&mut self, address: u64, size: u64) -> u64 {
        (0..size).fold(0, |number, offset| {
            number | u64::from((self.byte)(address.wrapping_add(offset))) << (8 * offset)
        })
    }

    /// An offset of `size` bytes, with its sign.
    fn offset(&mut self, size: u64) -> u64 {
        let number = self.number(self.at, size);
        self.at = self.at.wrapping_add(size);
        match size {
            1 => number as u8 as i8 as u64,
            _ => number as u32 as i32 as u64,
        }
    }

    /// As in Intel's manual, volume 2, chapter 2: prefixes, REX, operation, ModRM, SIB, offset.
    fn instruction(&mut self, registers: &Registers) -> Option<Instruction> {
        let mut byte = self.next();
        let mut short = false;
        // The size of the numbers, and segments that mean nothing.
        while matches!(byte, 0x66 | 0x2e | 0x36 | 0x3e | 0x26) {
            short |= byte == 0x66;
            byte = self.next();
        }
        let rex = if byte & 0xf0 == 0x40 { byte } else { 0 };
        if rex != 0 {
            byte = self.next();
        }
        let size = match byte {
            0xf6 => 1,
            0xf7 if rex & 8 != 0 => 8,
            0xf7 if short => 2,
            0xf7 => 4,
            _ => return None,
        };
        let modes = self.next();
        let signed = match (modes >> 3) & 7 {
            6 => false,
            7 => true,
            _ => return None,
        };
        let place = self.place(modes, rex, size, registers);
        Some(Instruction { size, signed, place })
    }

    fn place(&mut self, modes: u8, rex: u8, size: u64, registers: &Registers) -> Place {
        let (mode, low, high) = (modes >> 6, modes & 7, (rex & 1) << 3);
        if mode == 3 {
            // The second byte of the first four, where there is no REX.
            return Place::Value(match (size, rex, low) {
                (1, 0, 4..) => register(registers, low - 4) >> 8,
                _ => register(registers, low | high),
            });
        }
        let (mut address, mut relative) = (0, false);
        let mut offset = match mode {
            0 => 0,
            1 => 1,
            _ => 4,
        };
        if low == 4 {
            let sib = self.next();
            let (scaled, index) = (sib >> 6, (sib >> 3) & 7 | (rex & 2) << 2);
            if index != 4 {
                address = register(registers, index) << scaled;
            }
            match (sib & 7, mode) {
                (5, 0) => offset = 4,
                (base, _) => {
                    address = address.wrapping_add(register(registers, base | high));
                }
            }
        } else if low == 5 && mode == 0 {
            (relative, offset) = (true, 4);
        } else {
            address = register(registers, low | high);
        }
        if offset != 0 {
            address = address.wrapping_add(self.offset(offset));
        }
        Place::Memory { address, relative }
    }
}

fn register(registers: &Registers, number: u8) -> u64 {
    registers.get(usize::from(number)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 0x1000;
    const LOWEST: u64 = 1 << 63;

    /// Runs an instruction with these registers; memory elsewhere holds `memory` at 0x2000.
    fn run(code: &[u8], of: &[(usize, u64)], memory: u64) -> Option<Divided> {
        let mut registers = [0x55; 16];
        of.iter().for_each(|(number, value)| registers[*number] = *value);
        let mut byte = |address: u64| match address {
            0x2000..0x2008 => memory.to_le_bytes()[(address - 0x2000) as usize],
            _ => code.get((address - AT) as usize).copied().unwrap_or(0x90),
        };
        divided(AT, &registers, &mut byte)
    }

    fn after(length: u64, rax: u64, rdx: u64) -> Option<Divided> {
        Some(Divided { length, rax, rdx })
    }

    #[test]
    fn the_lowest_number_stays_and_nothing_is_left() {
        let lowest = [(0, LOWEST), (2, u64::MAX), (6, u64::MAX)];
        // idiv rsi
        assert_eq!(run(&[0x48, 0xf7, 0xfe], &lowest, 0), after(3, LOWEST, 0));
        // idiv esi: the upper halves are cleared, as by any operation of this size.
        let small = [(0, 0xdead_0000_8000_0000), (2, 0xbeef_ffff_ffff), (6, 0x7_ffff_ffff)];
        assert_eq!(run(&[0xf7, 0xfe], &small, 0), after(2, 0x8000_0000, 0));
        // idiv si: they stay.
        let short = [(0, 0xabcd_8000), (2, 0x1234_ffff), (6, 0xffff)];
        assert_eq!(run(&[0x66, 0xf7, 0xfe], &short, 0), after(3, 0xabcd_8000, 0x1234_0000));
        // idiv bl; idiv bh
        let byte = [(0, 0x12_ff80), (2, 9), (3, 0xff)];
        assert_eq!(run(&[0xf6, 0xfb], &byte, 0), after(2, 0x12_0080, 9));
        let byte = [(0, 0x12_ff80), (2, 9), (3, 0xff00)];
        assert_eq!(run(&[0xf6, 0xff], &byte, 0), after(2, 0x12_0080, 9));
        // idiv r15b; idiv dil
        let byte = [(0, 0xff80), (2, 9), (15, 0xff), (7, 0xff)];
        assert_eq!(run(&[0x41, 0xf6, 0xff], &byte, 0), after(3, 0x80, 9));
        assert_eq!(run(&[0x40, 0xf6, 0xff], &byte, 0), after(3, 0x80, 9));
    }

    #[test]
    fn a_division_by_zero_is_zero_and_everything_is_left() {
        let minus = [(0, (-7i64) as u64), (2, u64::MAX), (9, 0)];
        // idiv r9; div r9, of a number that is too long
        assert_eq!(run(&[0x49, 0xf7, 0xf9], &minus, 0), after(3, 0, (-7i64) as u64));
        assert_eq!(run(&[0x49, 0xf7, 0xf1], &minus, 0), None);
        // div r9; div cl
        assert_eq!(run(&[0x49, 0xf7, 0xf1], &[(0, 7), (2, 0), (9, 0)], 0), after(3, 0, 7));
        assert_eq!(run(&[0xf6, 0xf1], &[(0, 200), (1, 0x100), (2, 3)], 0), after(2, 200 << 8, 3));
    }

    #[test]
    fn divisors_are_found_in_memory() {
        let with = |number: usize, value: u64| {
            vec![(0, LOWEST), (2, u64::MAX), (number, value), (4, 0x1ff8), (12, 0x1fe0), (1, 4)]
        };
        let cases: [(&[u8], usize, u64); 10] = [
            // idiv [rdi]; idiv [rdi - 8]; idiv [rdi + 0x1000]; idiv [r13 + 0]
            (&[0x48, 0xf7, 0x3f], 7, 0x2000),
            (&[0x48, 0xf7, 0x7f, 0xf8], 7, 0x2008),
            (&[0x48, 0xf7, 0xbf, 0, 0x10, 0, 0], 7, 0x1000),
            (&[0x49, 0xf7, 0x7d, 0], 13, 0x2000),
            // idiv [rsp + 8]; idiv [r12 + rcx * 8]; idiv [r12 + r8]; idiv [rsi * 2 + 0x20]
            (&[0x48, 0xf7, 0x7c, 0x24, 8], 7, 0),
            (&[0x49, 0xf7, 0x3c, 0xcc], 7, 0),
            (&[0x4b, 0xf7, 0x3c, 0x04], 8, 0x20),
            (&[0x48, 0xf7, 0x3c, 0x75, 0x20, 0, 0, 0], 6, 0xff0),
            // idiv [rip + 0xff9]; idiv [rbp + 0]
            (&[0x48, 0xf7, 0x3d, 0xf9, 0x0f, 0, 0], 7, 0),
            (&[0x48, 0xf7, 0x7d, 0], 5, 0x2000),
        ];
        for (code, number, value) in cases {
            let length = code.len() as u64;
            let of = with(number, value);
            assert_eq!(run(code, &of, u64::MAX), after(length, LOWEST, 0), "{code:x?}");
            assert_eq!(run(code, &of, 0), after(length, 0, LOWEST), "{code:x?}");
            assert_eq!(run(code, &of, 1), None, "{code:x?}");
        }
    }

    #[test]
    fn what_is_no_division_of_c_has_no_answer() {
        let lowest = [(0, LOWEST), (2, u64::MAX), (6, u64::MAX)];
        for code in [
            &[0x90][..],
            &[0x48, 0xf7, 0xe6],       // mul rsi
            &[0x64, 0x48, 0xf7, 0x3e], // idiv fs:[rsi]
            &[0xcc],
            &[0x48, 0x48, 0xf7, 0xfe],
            &[0x48, 0xf7, 0xf6], // div rsi
        ] {
            assert_eq!(run(code, &lowest, 0), None, "{code:x?}");
        }
        assert_eq!(run(&[0x48, 0xf7, 0xfe], &[(0, LOWEST), (2, 0), (6, u64::MAX)], 0), None);
        assert_eq!(run(&[0x48, 0xf7, 0xfe], &[(0, 5), (2, 0), (6, 5)], 0), None);
    }
}
