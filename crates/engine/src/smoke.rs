//! Smoke commands: what an image must be able to do before it may be published.
//!
//! Runs in the finished image, with its user, environment and working directory; what it writes is
//! thrown away. A pass counts for that image and command from then on.

use std::collections::BTreeMap;
use std::time::Instant;

use anyarch_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::engine::Session;
use crate::error::{BuildError, Context};
use crate::event::{Event, Stream};
use crate::exec::{ended_badly, shorten};
use crate::image::BuiltImage;
use crate::mounts::Mounts;
use crate::op::ExecOp;
use crate::resolve::Resolved;

/// A pass, as it is kept.
#[derive(Serialize, Deserialize)]
struct Pass {
    manifest: Digest,
    command: Vec<String>,
}

impl Session<'_> {
    /// Runs the smoke command of an image, unless it has passed before.
    ///
    /// # Errors
    /// When the command fails.
    pub(crate) fn smoke(
        &self,
        resolved: &Resolved,
        image: &BuiltImage,
        command: &[String],
    ) -> Result<(), BuildError> {
        let begun = Instant::now();
        let pass = Pass { manifest: image.manifest.digest.clone(), command: command.to_vec() };
        let what = || format!("failed to record the smoke test of {}", image.member);
        let key = Digest::sha256(&anyarch_oci::canonical_json(&pass).context(what)?);
        let record = self.store().root().join("cache/smoke").join(key.hex());
        let passed = |cached| Event::SmokePassed {
            member: image.member.clone(),
            elapsed: begun.elapsed(),
            cached,
        };
        if crate::cache::read::<Pass>(self.store(), &record)?.is_some() {
            (self.on)(passed(true));
            return Ok(());
        }
        (self.on)(Event::SmokeStarted { member: image.member.clone(), command: command.to_vec() });
        let config = &image.config.config;
        let variables = config.env.iter().filter_map(|entry| entry.split_once('='));
        let op = ExecOp {
            argv: command.to_vec(),
            env: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<BTreeMap<_, _>>(),
            proxies: BTreeMap::new(),
            cwd: crate::stage::absolute("/", &config.working_dir),
            user: config.user.clone(),
            isolated: false,
            scripts: Vec::new(),
            mounts: Vec::new(),
        };
        let tree = self.mount(&image.chain)?;
        let mut output = |stream: Stream, bytes: &[u8]| {
            (self.on)(Event::SmokeOutput {
                member: image.member.clone(),
                stream,
                bytes: bytes.to_vec(),
            });
        };
        // What is published is tested as its users run it: nothing stands in for anything.
        let foreign = self.foreign_tree(resolved, &image.platform, None, tree.root(), None)?;
        let exit =
            self.execute(tree.root(), &op, &Mounts::default(), foreign.as_ref(), &mut output)?;
        if !exit.success() {
            let error = ended_badly(
                &format!(
                    "the smoke command of {} (`{}`)",
                    image.member,
                    shorten(&command.join(" "))
                ),
                exit,
            );
            return Err(error.hint(
                "nothing was tagged; mend the image or its `smoke` command in the plan".to_owned(),
            ));
        }
        self.store().write_json(&record, &pass).context(what)?;
        (self.on)(passed(false));
        Ok(())
    }
}
