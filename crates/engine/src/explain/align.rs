//! Which step of the last build a step of this one is.

/// For each new text the old one that it stands for: the same text where the order allows it, else
/// one in the same gap that begins with the same word.
pub(super) fn align(old: &[&str], new: &[&str]) -> Vec<Option<usize>> {
    let mut found = vec![None; new.len()];
    let mut gap = (0, 0);
    for (from, to) in common(old, new).into_iter().chain([(old.len(), new.len())]) {
        let mut candidates = gap.0..from;
        for at in gap.1..to {
            let same = |candidate: &usize| first_word(old[*candidate]) == first_word(new[at]);
            if let Some(candidate) = candidates.clone().find(same) {
                found[at] = Some(candidate);
                candidates.start = candidate + 1;
            }
        }
        if to < new.len() {
            found[to] = Some(from);
        }
        gap = (from + 1, to + 1);
    }
    found
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// A longest common subsequence, as pairs of positions.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    // Lengths for what is left from each pair of positions on.
    let mut lengths = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for (i, left) in old.iter().enumerate().rev() {
        for (j, right) in new.iter().enumerate().rev() {
            lengths[i][j] = match left == right {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[i + 1][j] >= lengths[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn equal_texts_meet_and_changed_ones_by_their_first_word() {
        let old = ["base a", "RUN a", "COPY x", "RUN b", "RUN c"];
        assert_eq!(align(&old, &old), [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        let changed = ["base b", "RUN a", "RUN new", "COPY y", "RUN b", "RUN d"];
        assert_eq!(align(&old, &changed), [Some(0), Some(1), None, Some(2), Some(3), Some(4)]);
        assert_eq!(align(&old, &["RUN c"]), [Some(4)]);
        assert_eq!(align(&[], &["RUN c"]), [None]);
        assert_eq!(align(&["RUN c"], &[]), Vec::<Option<usize>>::new());
    }

    #[test]
    fn no_old_step_stands_for_two() {
        assert_eq!(align(&["RUN a"], &["RUN b", "RUN c"]), [Some(0), None]);
    }
}
