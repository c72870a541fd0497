//! `RUN --mount`: gets ready what a step mounts, and takes it away afterwards.
//!
//! Nothing of it is in the layer, the cache key or the log: what caches, secrets and agents hold stays
//! with whoever builds. Caches are in [`crate::caches`].

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyarch_layer::copy::{self, Choice, CopyOptions};
use anyarch_layer::{Metadata, Root, Time};
use anyarch_sandbox::{Mount, OverlayMount, ProvidedFile};

use crate::caches::Cache;
use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::file::Origin;
use crate::inputs::Origins;
use crate::op::{ExecOp, MountOp};
use crate::snapshot::Writable;

/// Permission bits of a tmpfs.
const TMPFS_MODE: u32 = 0o1777;
/// Where the socket of the first ssh agent is, as BuildKit has it.
const AGENT: &str = "/run/buildkit/ssh_agent";

/// What a step mounts, for as long as it runs.
#[derive(Default)]
pub(crate) struct Mounts {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) files: Vec<ProvidedFile>,
    pub(crate) env: Vec<(String, String)>,
    caches: Vec<Cache>,
    views: Vec<OverlayMount>,
    trees: Vec<Writable>,
    agents: Vec<Agent>,
    copies: Vec<PathBuf>,
}

impl Mounts {
    /// Takes everything away that is not kept.
    pub(crate) fn close(mut self, session: &Session<'_>) -> Result<(), BuildError> {
        for cache in std::mem::take(&mut self.caches) {
            cache.close(session)?;
        }
        session.bound_caches()
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        self.views.clear();
        self.trees.clear();
        self.agents.clear();
        for copy in &self.copies {
            // What cannot be removed now goes with the working folder.
            drop(std::fs::remove_dir_all(copy));
        }
    }
}

impl Session<'_> {
    /// Gets the mounts of a step ready.
    ///
    /// # Errors
    /// When a source is not there, or a secret or agent that the step demands was not given.
    pub(crate) fn prepare_mounts(
        &self,
        op: &ExecOp,
        origins: Origins<'_>,
    ) -> Result<Mounts, BuildError> {
        let mut ready = Mounts::default();
        for mount in &op.mounts {
            match mount {
                MountOp::Bind { from, source, target, writable } => {
                    let source =
                        self.bind_source(&origins(*from), source, *writable, &mut ready)?;
                    let (target, read_only) = (PathBuf::from(target), !writable);
                    ready.mounts.push(Mount::Bind { source, target, read_only });
                }
                MountOp::Tmpfs { target, size } => ready.mounts.push(Mount::Tmpfs {
                    target: PathBuf::from(target),
                    size: *size,
                    mode: TMPFS_MODE,
                }),
                MountOp::Cache { id, from, target, sharing, writable, mode, owner } => {
                    let mut first = |to: &Path| match from {
                        None => Ok(()),
                        Some((from, source)) => self.copy_out(&origins(*from), source, to),
                    };
                    let cache = self.open_cache(id, *sharing, *mode, *owner, &mut first)?;
                    ready.mounts.push(Mount::Bind {
                        source: cache.content(),
                        target: PathBuf::from(target),
                        read_only: !writable,
                    });
                    ready.caches.push(cache);
                }
                MountOp::Secret { id, target, variable, required, mode, owner } => {
                    let secret = self.engine.host.secrets.get(id);
                    let Some(secret) = secret else {
                        if *required {
                            return Err(BuildError::input(format!(
                                "the step demands the secret `{id}`, which was not given"
                            ))
                            .hint(format!(
                                "give it: --secret id={id},src=FILE or --secret id={id},env=NAME"
                            )));
                        }
                        continue;
                    };
                    if let Some(variable) = variable {
                        let text = String::from_utf8(secret.to_vec()).map_err(|_| {
                            BuildError::input(format!(
                                "the secret `{id}` is not text, and cannot be the variable {variable}"
                            ))
                        })?;
                        ready.env.push((variable.clone(), text));
                    }
                    if let Some(target) = target {
                        ready.files.push(ProvidedFile {
                            mode: Some(*mode),
                            owner: *owner,
                            ..ProvidedFile::new(target, secret)
                        });
                    }
                }
                MountOp::Ssh { id, target, required, mode, owner } => {
                    let Some(socket) = self.engine.host.ssh.get(id) else {
                        if *required {
                            return Err(BuildError::input(format!(
                                "the step demands the ssh agent `{id}`, which was not given"
                            ))
                            .hint(format!(
                                "start one (`ssh-agent`), add a key to it, and give it: --ssh {id}"
                            )));
                        }
                        continue;
                    };
                    let agent = Agent::start(socket, &self.fresh("agent"), *mode, *owner)
                        .context(|| format!("failed to reach the ssh agent `{id}`"))?;
                    let target =
                        target.clone().unwrap_or_else(|| format!("{AGENT}.{}", ready.agents.len()));
                    // As BuildKit: the last one without a name of its own is the agent of the step.
                    ready.env.push(("SSH_AUTH_SOCK".to_owned(), target.clone()));
                    ready.mounts.push(Mount::Bind {
                        source: agent.socket.clone(),
                        target: PathBuf::from(target),
                        read_only: false,
                    });
                    ready.agents.push(agent);
                }
            }
        }
        Ok(ready)
    }

    /// A path outside of the step's root with the files to mount.
    fn bind_source(
        &self,
        origin: &Origin<'_>,
        source: &str,
        writable: bool,
        ready: &mut Mounts,
    ) -> Result<PathBuf, BuildError> {
        let what = || format!("failed to mount `{source}`");
        let chain = match origin {
            // What the ignore file excludes must not be seen, nor who owns the files here.
            Origin::Context(_) => {
                let folder = self.fresh("mount");
                std::fs::create_dir(&folder).context(what)?;
                ready.copies.push(folder.clone());
                let to = folder.join("content");
                self.copy_out(origin, source, &to)?;
                return Ok(to);
            }
            Origin::Tree(chain) => chain,
        };
        let root = if writable {
            let tree = self.mount(chain)?;
            let root = tree.root().to_owned();
            ready.trees.push(tree);
            root
        } else {
            let view = self.view(chain)?;
            let root = view.target().to_owned();
            ready.views.push(view);
            root
        };
        // Links lead to places in that tree, never out of it.
        let inside =
            Root::open(&root).and_then(|tree| tree.resolve(Path::new(source))).context(what)?;
        let path = root.join(inside.strip_prefix("/").unwrap_or(&inside));
        if std::fs::symlink_metadata(&path).is_err() {
            return Err(BuildError::input(what())
                .because("it is not there in the stage or image that it is mounted from"));
        }
        Ok(path)
    }

    /// Copies what a source word means to a path that is not there yet.
    fn copy_out(&self, origin: &Origin<'_>, source: &str, to: &Path) -> Result<(), BuildError> {
        let what = || format!("failed to mount `{source}`");
        let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else {
            return Err(BuildError::failed(what()));
        };
        let single = self.engine.host.single_id;
        let outside = Root::open(folder).context(what)?.leaving_owners(single);
        let options = CopyOptions { ignore_owner: single, ..CopyOptions::default() };
        match origin {
            Origin::Context(context) => {
                let found = context.find(source)?;
                let [found] = found.as_slice() else {
                    return Err(BuildError::input(what()).because("it means several files"));
                };
                let options = CopyOptions {
                    owner: Some((0, 0)),
                    mtime: Some(Time::from_secs(self.epoch)),
                    ..options
                };
                let path = Path::new(&found.path);
                let mut filter = |below: &Path, _: &Metadata| {
                    context.choose(&path.join(below).to_string_lossy())
                };
                copy::copy(context.root(), path, &outside, Path::new(name), &options, &mut filter)
                    .context(what)?;
            }
            Origin::Tree(chain) => {
                let view = self.view(chain)?;
                let tree = Root::open(view.target()).context(what)?;
                let mut all = |_: &Path, _: &Metadata| Choice::Copy;
                let (from, to) = (Path::new(source), Path::new(name));
                copy::copy(&tree, from, &outside, to, &options, &mut all).context(what)?;
            }
        }
        Ok(())
    }
}

/// An ssh agent lent to a step: a socket of ours, with the owner and mode that the step asks for, and
/// a thread that passes on what comes.
struct Agent {
    socket: PathBuf,
    stopped: Arc<AtomicBool>,
}

impl Agent {
    fn start(agent: &Path, socket: &Path, mode: u32, owner: (u32, u32)) -> io::Result<Agent> {
        // An agent that is not there is found out now, not in the middle of the step.
        UnixStream::connect(agent)?;
        let listener = UnixListener::bind(socket)?;
        if owner != (0, 0) {
            std::os::unix::fs::chown(socket, Some(owner.0), Some(owner.1))?;
        }
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(mode))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (over, agent) = (Arc::clone(&stopped), agent.to_owned());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(inside) = connection else { continue };
                let Ok(outside) = UnixStream::connect(&agent) else { continue };
                pass_on(inside, outside);
            }
        });
        Ok(Agent { socket: socket.to_owned(), stopped })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener, which then ends.
        drop(UnixStream::connect(&self.socket));
        drop(std::fs::remove_file(&self.socket));
    }
}

/// Passes bytes on in both directions, on threads of their own, until both ends are closed.
fn pass_on(inside: UnixStream, outside: UnixStream) {
    let ends = (inside.try_clone(), outside.try_clone());
    let (Ok(inside_too), Ok(outside_too)) = ends else { return };
    for (mut from, mut to) in [(inside, outside), (outside_too, inside_too)] {
        std::thread::spawn(move || {
            // A connection that breaks is one that has ended.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(std::net::Shutdown::Write));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn an_agent_is_lent_with_mode_and_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let listener = UnixListener::bind(&real).unwrap();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut question = Vec::new();
                connection.read_to_end(&mut question).unwrap();
                // Whoever only looked whether it is there has gone.
                drop(connection.write_all(&[b"re: ", question.as_slice()].concat()));
            }
        });
        let socket = folder.path().join("lent");
        let agent = Agent::start(&real, &socket, 0o600, (0, 0)).unwrap();
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(b"sign").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "re: sign");
        drop(agent);
        assert!(UnixStream::connect(&socket).is_err());
    }

    #[test]
    fn an_agent_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (none, socket) = (folder.path().join("none"), folder.path().join("lent"));
        assert!(Agent::start(&none, &socket, 0o600, (0, 0)).is_err());
    }
}
