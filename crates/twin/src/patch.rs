//! The name of Debian's architecture in a program → that of another one.
//!
//! dpkg and apt are built with the name of the architecture they are for. Where both names are of
//! one length, the text can be replaced in place, and the program is then for the other.

/// Replaces the name wherever it stands as a text of its own or in brackets (`1.21.22 (amd64)`).
/// `None` where the lengths differ; the number of places where they do not.
pub(crate) fn architecture(bytes: &mut [u8], from: &str, to: &str) -> Option<usize> {
    if from.len() != to.len() || from.is_empty() {
        return None;
    }
    let mut count = 0;
    let length = from.len();
    for at in 1..bytes.len().saturating_sub(length) {
        let bounded = matches!(
            (bytes.get(at - 1), bytes.get(at + length)),
            (Some(0), Some(0)) | (Some(b'('), Some(b')'))
        );
        if bounded
            && let Some(place) = bytes.get_mut(at..at + length)
            && place == from.as_bytes()
        {
            place.copy_from_slice(to.as_bytes());
            count += 1;
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_replaced() {
        let mut bytes = b"x\0amd64\0y\0amd64-microcode\0kfreebsd-amd64\0 1.2 (amd64)\0".to_vec();
        assert_eq!(architecture(&mut bytes, "amd64", "arm64"), Some(2));
        assert_eq!(bytes, b"x\0arm64\0y\0amd64-microcode\0kfreebsd-amd64\0 1.2 (arm64)\0".to_vec());
    }

    #[test]
    fn names_of_other_lengths_are_not() {
        let mut bytes = b"\0amd64\0".to_vec();
        assert_eq!(architecture(&mut bytes, "amd64", "riscv64"), None);
        assert_eq!(bytes, b"\0amd64\0");
        assert_eq!(architecture(&mut [], "amd64", "arm64"), Some(0));
    }
}
