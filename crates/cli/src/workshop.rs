//! Everything a verb needs that makes images: the sandbox entered, the store healed, the engine
//! with its ways to the network, a reporter, a lock file, and an ear for Ctrl-C.

use anyarch_engine::{BuildError, Engine, ErrorKind, Event, LockFile, NoCache, OnEvent, Twins};
use anyarch_sandbox::{Cancel, Entered, Privilege};

use crate::args::{Ca, StepArgs};
use crate::diagnostic::{line_span, render_place};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fetch::HttpFetch;
use crate::files;
use crate::git::GitProgram;
use crate::global::Global;
use crate::host;
use crate::interrupt::Interrupt;
use crate::lent;
use crate::lock_file;
use crate::report::{Report, Summary};
use crate::text;

/// The place where images are made.
pub(crate) struct Workshop {
    /// The engine.
    pub(crate) engine: Engine,
    /// What listens to it.
    pub(crate) report: Report,
    global: Global,
    interrupt: Interrupt,
}

impl Workshop {
    /// Opens it for steps to run. Call while the program has one thread.
    pub(crate) fn open(global: &Global, steps: &StepArgs) -> Result<Workshop, Failure> {
        // Read before the namespace is entered, as whoever asks.
        let (secrets, ssh) = (lent::secrets(&steps.secret)?, lent::agents(&steps.ssh)?);
        let entered = anyarch_sandbox::enter()?;
        let mut workshop = Workshop::set_up(global, &steps.ca, steps.twins(), entered)?;
        (workshop.engine.host.secrets, workshop.engine.host.ssh) = (secrets, ssh);
        workshop.engine.no_cache = steps.no_cache();
        Ok(workshop)
    }

    /// Opens it for looking things up as steps would run; none does.
    pub(crate) fn open_to_look(global: &Global) -> Result<Workshop, Failure> {
        Workshop::set_up(global, &Ca::Image, Twins::On, anyarch_sandbox::enter()?)
    }

    /// Opens it for finding out only: nothing can be mounted or run.
    pub(crate) fn open_without_sandbox(global: &Global) -> Result<Workshop, Failure> {
        let entered = Entered { privilege: Privilege::UserSingle, warnings: Vec::new() };
        Workshop::set_up(global, &Ca::Image, Twins::On, entered)
    }

    fn set_up(
        global: &Global,
        ca: &Ca,
        twins: Twins,
        entered: Entered,
    ) -> Result<Workshop, Failure> {
        let single_id = entered.privilege == Privilege::UserSingle;
        let host = host::host(ca, single_id)?;
        let store = global.open_store()?;
        let interrupt = Interrupt::listen(&global.cancel, !global.shows_tree())?;
        let report = Report::new(global);
        for message in entered.warnings {
            report.on(Event::Warning { message });
        }
        match store.heal() {
            Ok(healed) if healed.removed > 0 => {
                let runs = text::count(healed.removed, "interrupted run");
                report.note(&format!("removed what {runs} had left unfinished"));
            }
            Ok(_) => {}
            // What cannot be removed now is in nobody's way; the next run tries again.
            Err(error) => report.on(Event::Warning {
                message: format!("left-overs of an interrupted run stay in the store: {error}"),
            }),
        }
        let client = host::client(report.warner())?;
        let images = Box::new(host::registry_client(global, client.clone())?);
        let engine = Engine {
            store,
            host,
            fetch: Box::new(HttpFetch(client)),
            images,
            twins,
            git: Box::new(GitProgram),
            no_cache: NoCache::Nothing,
        };
        Ok(Workshop { engine, report, global: global.clone(), interrupt })
    }

    /// Does the work: reads the lock, lets `work` run, writes the lock if it changed, and says
    /// what was done or what went wrong. `moved` tells how many tags of a result are new.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(&Engine, &mut LockFile, OnEvent<'_>, &Cancel) -> Result<T, BuildError>,
        moved: impl FnOnce(&T) -> usize,
    ) -> Result<T, Failure> {
        let summary = |result: &T| Summary::Succeeded { moved_tags: moved(result) };
        let done = self.attempt(work, summary);
        self.tell(done)
    }

    /// The same for what makes nothing: the summary of steps is left out.
    pub(crate) fn find_out<T>(
        &mut self,
        work: impl FnOnce(&Engine, &mut LockFile, OnEvent<'_>, &Cancel) -> Result<T, BuildError>,
    ) -> Result<T, Failure> {
        let done = self.attempt(work, |_| Summary::None);
        self.tell(done)
    }

    fn tell<T>(&self, done: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure::Error(report)) = &done {
            self.report.error(report);
        }
        done
    }

    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&Engine, &mut LockFile, OnEvent<'_>, &Cancel) -> Result<T, BuildError>,
        summary: impl FnOnce(&T) -> Summary,
    ) -> Result<T, Failure> {
        let path = lock_file::path(&self.global.plan);
        let before = lock_file::read(&path)?;
        let mut lock = before.clone();
        let report = &self.report;
        let done = work(&self.engine, &mut lock, &|event| report.on(event), &self.global.cancel);
        // What was found out counts even where a step failed later.
        let written = match lock == before {
            true => Ok(()),
            false => lock_file::write(&path, &lock),
        };
        let summary = match &done {
            Ok(result) => summary(result),
            Err(_) => Summary::Failed,
        };
        self.report.finish(summary);
        match done {
            Ok(result) => written.map(|()| result),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// An error of the engine, with the step, its source line and the end of its output.
    pub(crate) fn failure(&self, error: BuildError) -> Failure {
        // After Ctrl-C, whatever broke off is a consequence of it.
        if let Some(signal) = self.interrupt.signal() {
            return Failure::Interrupted(signal);
        }
        let exit = match error.kind {
            ErrorKind::Input => Exit::Usage,
            ErrorKind::Refused => Exit::Refused,
            ErrorKind::Failed | ErrorKind::Cancelled | ErrorKind::NotBuilt => Exit::Failed,
        };
        let mut details = String::new();
        if let Some(origin) = &error.origin {
            // A file that has gone since it was built from is no reason to hide the error.
            let source = files::read(&files::beside_plan(&self.global, &origin.file));
            match source {
                Ok(source) => {
                    let span = line_span(&source.text, origin.line).unwrap_or(0..0);
                    details.push_str(&render_place(&source, &span, ""));
                }
                Err(_) => details.push_str(&format!(" --> {}:{}\n", origin.file, origin.line)),
            }
        }
        let step = self.report.failed_step(error.step);
        if let Some(step) = &step
            && error.origin.is_none()
        {
            details.push_str(&format!("  step {}: {}\n", step.number, step.info.name));
        }
        let (whose, tail) = match (step, self.report.failed_smoke()) {
            (Some(step), _) => (format!("step {}", step.number), step.tail),
            (None, Some((member, tail))) => (format!("the smoke command of {member}"), tail),
            (None, None) => (String::new(), Vec::new()),
        };
        if !tail.is_empty() {
            details.push_str(&format!("  the end of the output of {whose}:\n"));
            for line in tail {
                details.push_str(&format!("    {line}\n"));
            }
        }
        let failure = Failure::new(exit, error.message.clone()).details(&details);
        let failure = failure.hint(error.hint.clone());
        match std::error::Error::source(&error) {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}
