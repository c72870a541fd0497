//! `COPY --chmod`: octal modes and symbolic changes (`u=rwX,go=rX`).

use std::str::FromStr;

/// How the mode of a copied file is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModeChange {
    /// This mode, for files and directories alike.
    Set(u32),
    /// Changes as `chmod(1)` describes them, applied one after the other.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode, such as `go-w`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Classes meant, as a mask over all mode bits they own (setuid for `u`, setgid for `g`, sticky for `o`).
    mask: u32,
    operator: Operator,
    permissions: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Add,
    Remove,
    Assign,
}

/// Text that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither an octal mode nor a symbolic one such as u=rwX,go=rX")]
pub struct ModeChangeError {
    text: String,
}

impl ModeChange {
    /// The mode of a file that had `mode` before.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            ModeChange::Set(mode) => *mode,
            ModeChange::Symbolic(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir))
            }
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let mut bits = 0;
        for permission in self.permissions.chars() {
            bits |= match permission {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_dir || mode & 0o111 != 0 => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => spread(mode >> 6),
                'g' => spread(mode >> 3),
                'o' => spread(mode),
                _ => 0,
            };
        }
        let bits = bits & self.mask;
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            // A directory keeps its setuid and setgid bits, as with chmod(1).
            Operator::Assign if is_dir => (mode & (!self.mask | 0o6000)) | bits,
            Operator::Assign => (mode & !self.mask) | bits,
        }
    }
}

/// The low three bits for all three classes.
fn spread(bits: u32) -> u32 {
    (bits & 7) * 0o111
}

impl FromStr for ModeChange {
    type Err = ModeChangeError;

    fn from_str(text: &str) -> Result<ModeChange, ModeChangeError> {
        let error = || ModeChangeError { text: text.to_owned() };
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Ok(ModeChange::Set(mode))
                }
                _ => Err(error()),
            };
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let start = part.find(['+', '-', '=']).ok_or_else(error)?;
            let mut mask = 0;
            for class in part[..start].chars() {
                mask |= match class {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(error()),
                };
            }
            // Without a class all are meant; there is no umask here.
            let mask = if start == 0 { 0o7777 } else { mask };
            let mut rest = &part[start..];
            while let Some(sign) = rest.chars().next() {
                let operator = match sign {
                    '+' => Operator::Add,
                    '-' => Operator::Remove,
                    _ => Operator::Assign,
                };
                let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
                let permissions = &rest[1..end];
                if !permissions.chars().all(|permission| "rwxXstugo".contains(permission)) {
                    return Err(error());
                }
                clauses.push(Clause { mask, operator, permissions: permissions.to_owned() });
                rest = &rest[end..];
            }
        }
        Ok(ModeChange::Symbolic(clauses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, mode: u32, is_dir: bool) -> u32 {
        text.parse::<ModeChange>().unwrap().apply(mode, is_dir)
    }

    #[test]
    fn octal_and_symbolic_changes() {
        assert_eq!(changed("755", 0o600, false), 0o755);
        assert_eq!(changed("04711", 0, false), 0o4711);
        assert_eq!(changed("u=rwX,go=rX", 0o600, false), 0o644);
        assert_eq!(changed("u=rwX,go=rX", 0o700, false), 0o755);
        assert_eq!(changed("u=rwX,go=rX", 0o600, true), 0o755);
        assert_eq!(changed("+x", 0o644, false), 0o755);
        assert_eq!(changed("g+s,o-rwx", 0o755, true), 0o2750);
        assert_eq!(changed("g=u", 0o640, false), 0o660);
        assert_eq!(changed("a-w+x", 0o644, false), 0o555);
        assert_eq!(changed("+t", 0o777, true), 0o1777);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "9", "10000", "u", "u=q", "z+x", "755x", "0x1", "u+x,"] {
            assert!(text.parse::<ModeChange>().is_err(), "{text}");
        }
    }
}
