//! When to try again, and how long to wait first.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use crate::RetryPolicy;

/// Statuses that say "not now" rather than "no".
pub(crate) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds or a date.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

impl RetryPolicy {
    /// The wait after failed attempt number `attempt` (from 1), or `None` where there is to be no
    /// further attempt. `asked` is the server's `Retry-After`.
    pub fn delay(&self, attempt: u32, asked: Option<Duration>) -> Option<Duration> {
        if attempt >= self.attempts || asked.is_some_and(|asked| asked > self.max_retry_after) {
            return None;
        }
        let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
        let own = self.first_delay.saturating_mul(doubled).min(self.max_delay);
        let random = RandomState::new().build_hasher().finish() % 512;
        let own = own + own.saturating_mul(random as u32) / 1024;
        Some(asked.map_or(own, |asked| asked.max(own)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now),
            Some(Duration::from_secs(60))
        );
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn delays_double_and_end() {
        let policy = RetryPolicy {
            attempts: 4,
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_millis(250),
            max_retry_after: Duration::from_secs(5),
        };
        for (attempt, least) in [(1, 100), (2, 200), (3, 250)] {
            let delay = policy.delay(attempt, None).unwrap().as_millis();
            assert!((least..=least * 3 / 2).contains(&delay), "{attempt}: {delay}");
        }
        assert_eq!(policy.delay(4, None), None);
        assert_eq!(policy.delay(1, Some(Duration::from_secs(3))), Some(Duration::from_secs(3)));
        assert_eq!(policy.delay(1, Some(Duration::from_secs(6))), None);
    }
}
