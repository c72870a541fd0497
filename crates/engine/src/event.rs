//! What the engine says while it works. Values, not text: whoever listens decides how they look.

use std::time::Duration;

use anyarch_oci::{Digest, PushedBlob};

/// Number of a step in the build graph that [`Event::Graph`] announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct StepId(pub usize);

/// A listener. Called from several threads at once.
pub type OnEvent<'a> = &'a (dyn Fn(Event) + Sync);

/// Where a step comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// The file, as the plan or the command line names it.
    pub file: String,
    /// The first line, from 1.
    pub line: usize,
}

/// What is known of a step before it runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StepInfo {
    /// Its number.
    pub id: StepId,
    /// What it does, in one line: the instruction after expansion.
    pub name: String,
    /// What it is part of, for people: `cpu/amd64 base`; several where tiers share it.
    pub parts: Vec<String>,
    /// Where it comes from; `None` for steps that no file spells out.
    pub origin: Option<Origin>,
}

/// How a step came to its result.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing that it depends on has changed.
    Cached,
    /// It ran. `bytes` is the size of the layer it made, compressed; `None` where it changed nothing.
    Ran {
        /// Compressed size of the layer.
        bytes: Option<u64>,
    },
    /// It failed; the error that the build returns says why.
    Failed,
    /// It was stopped, or never started, because of something else.
    Cancelled,
}

/// Which stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A thing that happened.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// Something is being found out before steps can start: `reading the index of bookworm`.
    Resolving {
        /// What.
        what: String,
    },
    /// The steps of this build, once, in an order in which they could run.
    Graph {
        /// The steps.
        steps: Vec<StepInfo>,
    },
    /// A step begins to run.
    Started {
        /// Which.
        step: StepId,
    },
    /// Bytes that a step's process wrote; lines may be split over several events.
    Output {
        /// Which step.
        step: StepId,
        /// Where to.
        stream: Stream,
        /// What. Not always UTF-8 at the edges; lossy in JSON.
        #[serde(serialize_with = "lossy")]
        bytes: Vec<u8>,
    },
    /// Something countable goes on: a download, an unpacking, the writing of a layer. Ends with
    /// `done == total`, or with the step.
    Progress {
        /// Which step; `None` while resolving or publishing.
        step: Option<StepId>,
        /// What: `download libc6`, `write layer`, `push sha256:0123…`. Identifies the bar.
        what: String,
        /// How much of it is done.
        done: u64,
        /// How much there is, where known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// A step has ended.
    Finished {
        /// Which.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// How long it took.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// An image is complete in the host store.
    Image {
        /// `cpu/amd64`, or the name of a single Dockerfile.
        member: String,
        /// The tier.
        tier: String,
        /// Digest of its manifest.
        digest: Digest,
        /// Sum of its compressed layers.
        size: u64,
        /// Its local tags, as `REPOSITORY:TAG`.
        tags: Vec<String>,
    },
    /// The smoke command of a member begins.
    SmokeStarted {
        /// Which member.
        member: String,
        /// The command.
        command: Vec<String>,
    },
    /// The smoke command wrote something.
    SmokeOutput {
        /// Which member.
        member: String,
        /// Where to.
        stream: Stream,
        /// What.
        #[serde(serialize_with = "lossy")]
        bytes: Vec<u8>,
    },
    /// The smoke command ended well. (One that fails ends the publishing with an error.)
    SmokePassed {
        /// Which member.
        member: String,
        /// How long it took.
        #[serde(serialize_with = "seconds")]
        elapsed: Duration,
        /// True where an earlier run of the same image with the same command counts.
        cached: bool,
    },
    /// A blob is at the destination.
    Pushed {
        /// Which.
        digest: Digest,
        /// How it came there.
        #[serde(serialize_with = "pushed")]
        how: PushedBlob,
    },
    /// A tag now points to this manifest.
    Tagged {
        /// `REPOSITORY:TAG`.
        tag: String,
        /// What it points to.
        digest: Digest,
    },
    /// How the programs of foreign platforms ran, once, at the end of the steps.
    Emulated {
        /// How many ran by their native twins.
        native: u64,
        /// The others.
        emulated: Vec<EmulatedProgram>,
    },
    /// Something a person should know that is not an error.
    Warning {
        /// What.
        message: String,
    },
}

/// A program that was emulated.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EmulatedProgram {
    /// Its name.
    pub name: String,
    /// How often it was started.
    pub count: u64,
    /// Processor time, as far as it was seen: at least this much.
    #[serde(serialize_with = "seconds")]
    pub time: Duration,
    /// Why, in words; more than one where it differs from step to step.
    pub reasons: Vec<String>,
}

/// What a progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Packages, files or other things.
    Items,
}

fn lossy<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

fn pushed<S: serde::Serializer>(how: &PushedBlob, serializer: S) -> Result<S::Ok, S::Error> {
    match how {
        PushedBlob::Existed => serializer.serialize_str("existed"),
        PushedBlob::Mounted => serializer.serialize_str("mounted"),
        PushedBlob::Uploaded(bytes) => serializer.collect_str(&format_args!("uploaded {bytes}")),
    }
}
