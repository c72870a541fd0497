//! Files with holes as GNU tar stores them: a list of segments, then their bytes.

/// Offset and length of each stretch of data, in order.
pub(super) type Segments = Vec<(u64, u64)>;

/// More segments than any real file has; a bound on memory for hostile ones.
pub(super) const MAX_SEGMENTS: usize = 1 << 18;

/// Longest file with holes, in bytes: what ext4 can hold, so that other file systems answer the same.
pub(super) const MAX_SPARSE: u64 = 1 << 44;

/// Whether segments are in order, do not overlap, lie within `size` and add up to `stored` bytes.
pub(super) fn is_sound(segments: &[(u64, u64)], size: u64, stored: u64) -> bool {
    let mut end = 0u64;
    let mut sum = 0u64;
    for (offset, length) in segments {
        let Some(next) = offset.checked_add(*length) else { return false };
        if *offset < end || next > size {
            return false;
        }
        end = next;
        sum += length;
    }
    sum == stored
}

/// `offset,length,offset,length,...` of the 0.1 format.
pub(super) fn parse_map(text: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers: Vec<u64> = std::str::from_utf8(text)
        .ok()?
        .split(',')
        .take(2 * MAX_SEGMENTS + 2)
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    if !numbers.len().is_multiple_of(2) || numbers.len() > 2 * MAX_SEGMENTS {
        return None;
    }
    Some(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsound_maps_are_refused() {
        assert!(is_sound(&[(0, 4), (8, 4), (16, 0)], 16, 8));
        assert!(!is_sound(&[(0, 4), (2, 4)], 16, 8), "overlap");
        assert!(!is_sound(&[(8, 4), (0, 4)], 16, 8), "order");
        assert!(!is_sound(&[(0, 20)], 16, 20), "beyond the size");
        assert!(!is_sound(&[(u64::MAX, 2)], u64::MAX, 2), "overflow");
        assert!(!is_sound(&[(0, 4)], 16, 5), "stored size");
        assert_eq!(parse_map(b"0,4,8,4"), Some(vec![(0, 4), (8, 4)]));
        assert_eq!(parse_map(b"0,4,8"), None);
    }
}
