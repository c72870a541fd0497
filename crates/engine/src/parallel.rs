//! Does the same with several things at once, on a bounded number of threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{BuildError, ErrorKind};

/// Applies `work` to every item, `bound` at a time, and gives the results in the order of the items.
///
/// # Errors
/// The first failure that is not only a stop; what has not begun by then is not begun.
pub(crate) fn each<T: Sync, R: Send>(
    bound: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, BuildError> + Sync,
) -> Result<Vec<R>, BuildError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let done: Mutex<Vec<Option<Result<R, BuildError>>>> =
        Mutex::new(items.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..bound.clamp(1, items.len().max(1)) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = work(item);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
                }
            });
        }
    });
    let mut results = Vec::with_capacity(items.len());
    let mut failure: Option<BuildError> = None;
    for result in done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten() {
        match result {
            Ok(result) => results.push(result),
            Err(error) => {
                if failure.as_ref().is_none_or(|known| known.kind == ErrorKind::Cancelled) {
                    failure = Some(error);
                }
            }
        }
    }
    failure.map_or(Ok(results), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        let doubled = each(3, &[1, 2, 3, 4, 5], |number| Ok(number * 2)).unwrap();
        assert_eq!(doubled, [2, 4, 6, 8, 10]);
        assert!(each(3, &[], |number: &u8| Ok(*number)).unwrap().is_empty());
    }

    #[test]
    fn what_failed_first_is_told_and_the_rest_is_not_begun() {
        let begun = AtomicUsize::new(0);
        let items: Vec<usize> = (0..100).collect();
        let error = each(2, &items, |number| {
            begun.fetch_add(1, Ordering::Relaxed);
            match number {
                5 => Err(BuildError::failed("five")),
                _ => Ok(()),
            }
        });
        assert_eq!(error.unwrap_err().message, "five");
        assert!(begun.load(Ordering::Relaxed) < 100);
    }
}
