//! Streams made by several threads at once, read in order by one: decompression ahead of extraction.
//!
//! Memory is bounded: blocks of streams that are not being read yet share a budget; the one being read has a
//! small allowance of its own, so that it can always go on.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Bytes a block has at most.
const BLOCK: usize = 256 << 10;
/// Bytes kept for streams that are not being read yet.
const BUDGET: usize = 40 << 20;
/// Blocks kept for the stream that is being read.
const ALLOWANCE: usize = 16;

/// A block, the end, or the error that ended the stream.
enum Item {
    Block(Vec<u8>),
    End,
    Failed(io::Error),
}

#[derive(Default)]
struct State {
    /// The next stream that nobody makes yet.
    next: usize,
    /// The stream being read.
    current: usize,
    /// Bytes in all queues.
    buffered: usize,
    queues: BTreeMap<usize, VecDeque<Item>>,
    stopped: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes the next stream to make.
    fn take(&self, count: usize) -> Option<usize> {
        let mut state = self.lock();
        if state.stopped || state.next >= count {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    /// Adds to a stream's queue once there is room; false when nobody reads any more.
    fn push(&self, number: usize, item: Item) -> bool {
        let size = if let Item::Block(block) = &item { block.len() } else { 0 };
        let mut state = self.lock();
        loop {
            let queued = state.queues.get(&number).map_or(0, VecDeque::len);
            let is_current = state.current == number && queued < ALLOWANCE;
            if state.stopped {
                return false;
            }
            if is_current || size == 0 || state.buffered + size <= BUDGET {
                break;
            }
            state = self.wait(state);
        }
        state.buffered += size;
        state.queues.entry(number).or_default().push_back(item);
        drop(state);
        self.changed.notify_all();
        true
    }

    fn pop(&self, number: usize) -> Item {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.queues.get_mut(&number).and_then(VecDeque::pop_front) {
                if let Item::Block(block) = &item {
                    state.buffered -= block.len();
                }
                drop(state);
                self.changed.notify_all();
                return item;
            }
            state = self.wait(state);
        }
    }

    fn produce(
        &self,
        number: usize,
        open: &(dyn Fn(usize) -> io::Result<Box<dyn Read + Send>> + Sync),
    ) {
        let mut reader = match open(number) {
            Ok(reader) => reader,
            Err(error) => {
                self.push(number, Item::Failed(error));
                return;
            }
        };
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            let end = match reader.by_ref().take(BLOCK as u64).read_to_end(&mut block) {
                Ok(0) => Item::End,
                Ok(_) => {
                    if self.push(number, Item::Block(block)) {
                        continue;
                    }
                    return;
                }
                Err(error) => Item::Failed(error),
            };
            self.push(number, end);
            return;
        }
    }
}

/// Opens `count` streams on `threads` threads and hands them to `consume` in order.
///
/// The first error of `consume` ends everything and is returned.
pub(crate) fn in_order<E>(
    count: usize,
    threads: usize,
    open: &(dyn Fn(usize) -> io::Result<Box<dyn Read + Send>> + Sync),
    consume: &mut dyn FnMut(usize, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let shared = Shared { state: Mutex::default(), changed: Condvar::new() };
    std::thread::scope(|scope| {
        // Ends the producers also when `consume` fails or unwinds.
        let stop = Stop(&shared);
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                while let Some(number) = shared.take(count) {
                    shared.produce(number, open);
                }
            });
        }
        for number in 0..count {
            shared.lock().current = number;
            shared.changed.notify_all();
            let mut reader =
                Reader { shared: &shared, number, block: io::Cursor::default(), done: false };
            consume(number, &mut reader)?;
            io::copy(&mut reader, &mut io::sink()).ok();
        }
        drop(stop);
        Ok(())
    })
}

struct Stop<'a>(&'a Shared);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

struct Reader<'a> {
    shared: &'a Shared,
    number: usize,
    block: io::Cursor<Vec<u8>>,
    done: bool,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.block.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.done {
                return Ok(read);
            }
            match self.shared.pop(self.number) {
                Item::Block(block) => self.block = io::Cursor::new(block),
                Item::End => self.done = true,
                Item::Failed(error) => {
                    self.done = true;
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 7 MiB of a stream's own number.
    fn open(number: usize) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::repeat(number as u8).take(7 << 20)))
    }

    #[test]
    fn streams_arrive_in_order_and_whole() {
        for threads in 1..4 {
            let mut seen = Vec::new();
            let result: Result<(), io::Error> =
                in_order(20, threads, &open, &mut |number, reader| {
                    let mut all = Vec::new();
                    reader.read_to_end(&mut all)?;
                    assert!(all.len() == 7 << 20 && all.iter().all(|b| *b == number as u8));
                    seen.push(number);
                    Ok(())
                });
            assert!(result.is_ok());
            assert_eq!(seen, (0..20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn errors_end_all_threads() {
        let failing = |number| if number == 3 { Err(io::Error::other("no")) } else { open(number) };
        let result = in_order(100, 3, &failing, &mut |_, reader| {
            io::copy(reader, &mut io::sink()).map(|_| ())
        });
        assert_eq!(result.unwrap_err().to_string(), "no");
        let stopped: Result<(), &str> = in_order(100, 3, &open, &mut |_, _| Err("stop"));
        assert_eq!(stopped, Err("stop"));
    }

    #[test]
    fn parts_that_nobody_reads_are_skipped() {
        let result: Result<(), ()> = in_order(5, 2, &open, &mut |_, _| Ok(()));
        assert_eq!(result, Ok(()));
    }
}
