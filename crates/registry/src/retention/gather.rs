//! A repository → its tags with platforms, sizes and ages, and what their manifests reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyarch_oci::{
    Descriptor, Digest, EndpointError, ImageConfig, ImageManifest, Manifest, Platform, Tag,
    media_type,
};

use super::{Graph, Node, TagState, TaggedRepository, Verdict};

/// A tag, what it points to, and whether it is to go.
pub type Judged = (Tag, Digest, bool);

/// Questions asked at a time.
const AT_ONCE: usize = 8;
/// The epoch of reproducible images: a time of creation up to it says nothing.
const EPOCH: i64 = 315_532_800;

/// A tag as a person looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedImage {
    /// The tag, its digest and its time.
    pub state: TagState,
    /// Platforms of its images, in the order of the index.
    pub platforms: Vec<String>,
    /// Bytes of the layers that it reaches, each counted once.
    pub size: u64,
}

/// What was seen of a repository at one time.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The tags, by name.
    pub tags: Vec<TaggedImage>,
    documents: BTreeMap<Digest, Manifest>,
    /// Tags on documents of unknown kinds, with these kinds.
    unknown: Vec<(Tag, String)>,
}

impl Survey {
    /// Looks at every tag and at the manifests that they lead to. The time of a tag is that of the
    /// repository, or else the time at which its newest image was made, where that is a real one.
    pub fn of(repository: &dyn TaggedRepository) -> Result<Survey, EndpointError> {
        let mut survey = Survey::default();
        let states = states(repository)?;
        survey
            .load(repository, states.iter().map(|(_, descriptor)| descriptor.clone()).collect())?;
        let configs = survey.configs(repository, &states)?;
        for (mut state, descriptor) in states {
            if !is_manifest(&descriptor) {
                survey.unknown.push((state.tag.clone(), descriptor.media_type.clone()));
            } else if !survey.documents.contains_key(&descriptor.digest) {
                // Gone since it was listed.
                continue;
            }
            let images = survey.images(&descriptor);
            let made = images.iter().filter_map(|(_, image)| configs.get(&image.config.digest));
            state.time = state.time.or_else(|| made.filter_map(time_of).max());
            let platforms = images.iter().filter_map(|(platform, image)| match platform {
                Some(platform) => Some(platform.to_string()),
                None => Some(configs.get(&image.config.digest)?.platform().to_string()),
            });
            let layers: BTreeMap<&Digest, u64> = images
                .iter()
                .flat_map(|(_, image)| &image.layers)
                .map(|layer| (&layer.digest, layer.size))
                .collect();
            let (platforms, size) = (platforms.collect(), layers.values().sum());
            survey.tags.push(TaggedImage { state, platforms, size });
        }
        survey.tags.sort_by(|one, other| one.state.tag.cmp(&other.state.tag));
        Ok(survey)
    }

    /// The tags with their digests and times.
    pub fn states(&self) -> Vec<TagState> {
        self.tags.iter().map(|tag| tag.state.clone()).collect()
    }

    /// All tags, and what manifests reach that go with the tags to go: asks for what refers to
    /// them, and for what else the repository holds.
    ///
    /// # Errors
    /// Also where a tag is on a document of which it is not known what it reaches.
    pub fn reach(
        &mut self,
        repository: &dyn TaggedRepository,
        verdicts: &[Verdict],
    ) -> Result<(Vec<Judged>, Graph), EndpointError> {
        if let Some((tag, kind)) = self.unknown.first() {
            return Err(unknown(tag, kind));
        }
        self.load(repository, repository.untagged()?)?;
        let states = self.tags.iter().map(|tag| &tag.state);
        let tags: Vec<Judged> = states
            .zip(verdicts)
            .map(|(state, verdict)| (state.tag.clone(), state.digest.clone(), verdict.goes()))
            .collect();
        let mut asked = BTreeSet::new();
        let mut waiting: Vec<Digest> =
            tags.iter().filter(|(.., goes)| *goes).map(|(_, digest, _)| digest.clone()).collect();
        while !waiting.is_empty() {
            let new: Vec<Digest> =
                waiting.drain(..).filter(|digest| asked.insert(digest.clone())).collect();
            let about = each(&new, |digest| repository.referrers(digest))?.concat();
            waiting.extend(about.iter().map(|referrer| referrer.digest.clone()));
            self.load(repository, about)?;
            for manifest in new.iter().filter_map(|digest| self.documents.get(digest)) {
                waiting.extend(children(manifest).into_iter().map(|child| child.digest.clone()));
            }
        }
        Ok((tags, self.graph()))
    }

    fn graph(&self) -> Graph {
        let node = |manifest: &Manifest| Node {
            children: children(manifest).into_iter().map(|child| child.digest.clone()).collect(),
            subject: manifest.subject().map(|subject| subject.digest.clone()),
        };
        Graph(self.documents.iter().map(|(digest, m)| (digest.clone(), node(m))).collect())
    }

    /// Reads manifests and all that they list, each once. What is listed and not there is left out.
    fn load(
        &mut self,
        repository: &dyn TaggedRepository,
        mut waiting: Vec<Descriptor>,
    ) -> Result<(), EndpointError> {
        while !waiting.is_empty() {
            let mut new: BTreeMap<Digest, Descriptor> = BTreeMap::new();
            for descriptor in waiting.drain(..) {
                if is_manifest(&descriptor) && !self.documents.contains_key(&descriptor.digest) {
                    new.insert(descriptor.digest.clone(), descriptor);
                }
            }
            let new: Vec<Descriptor> = new.into_values().collect();
            let read = each(&new, |descriptor| {
                let bytes = repository.manifest(descriptor)?;
                bytes.map(|bytes| parse(descriptor, &bytes)).transpose()
            })?;
            for (descriptor, manifest) in new.into_iter().zip(read) {
                let Some(manifest) = manifest else { continue };
                waiting.extend(children(&manifest).into_iter().cloned());
                self.documents.insert(descriptor.digest, manifest);
            }
        }
        Ok(())
    }

    /// Images that a descriptor leads to, with the platforms that indexes give them; attestations
    /// are no images.
    fn images(&self, descriptor: &Descriptor) -> Vec<(Option<Platform>, &ImageManifest)> {
        let mut images = Vec::new();
        let mut seen = BTreeSet::new();
        let mut waiting = vec![(descriptor.platform.clone(), &descriptor.digest)];
        while let Some((platform, digest)) = waiting.pop() {
            if !seen.insert(digest) || platform.as_ref().is_some_and(|p| p.os == "unknown") {
                continue;
            }
            match self.documents.get(digest) {
                Some(Manifest::Image(image)) => images.push((platform, image)),
                Some(Manifest::Index(index)) => {
                    let entries = index.manifests.iter().rev();
                    waiting.extend(entries.map(|entry| (entry.platform.clone(), &entry.digest)));
                }
                None => {}
            }
        }
        images
    }

    /// The configurations of images whose platform or time only they tell.
    fn configs(
        &self,
        repository: &dyn TaggedRepository,
        states: &[(TagState, Descriptor)],
    ) -> Result<BTreeMap<Digest, ImageConfig>, EndpointError> {
        let mut wanted: BTreeMap<&Digest, &Descriptor> = BTreeMap::new();
        for (state, descriptor) in states {
            for (platform, image) in self.images(descriptor) {
                let kind = image.config.media_type.as_str();
                let is_image = matches!(kind, media_type::CONFIG | media_type::DOCKER_CONFIG);
                if is_image && (platform.is_none() || state.time.is_none()) {
                    wanted.insert(&image.config.digest, &image.config);
                }
            }
        }
        let wanted: Vec<&Descriptor> = wanted.into_values().collect();
        let read = each(&wanted, |config| repository.config(config))?;
        let parsed = wanted.iter().zip(read).filter_map(|(config, bytes)| {
            // One that does not parse tells nothing.
            let parsed = serde_json::from_slice(&bytes?).ok()?;
            Some((config.digest.clone(), parsed))
        });
        Ok(parsed.collect())
    }
}

/// What every tag of a repository points to now, and since when by the repository's word.
pub(super) fn states(
    repository: &dyn TaggedRepository,
) -> Result<Vec<(TagState, Descriptor)>, EndpointError> {
    let tags = repository.tags()?;
    let details = each(&tags, |tag| repository.tag(tag))?;
    let known = tags.into_iter().zip(details).filter_map(|(tag, details)| {
        let details = details?;
        let digest = details.descriptor.digest.clone();
        Some((TagState { tag, digest, time: details.last_modified }, details.descriptor))
    });
    Ok(known.collect())
}

fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Manifest, EndpointError> {
    Manifest::parse(bytes, Some(&descriptor.media_type)).map_err(|error| EndpointError {
        message: format!("failed to read manifest {}", descriptor.digest),
        hint: None,
        not_found: false,
        source: Some(Box::new(error)),
    })
}

/// Whether a descriptor is that of a manifest or an index.
fn is_manifest(descriptor: &Descriptor) -> bool {
    let kind = &descriptor.media_type;
    media_type::is_manifest(kind) || media_type::is_index(kind)
}

fn unknown(tag: &Tag, kind: &str) -> EndpointError {
    EndpointError {
        message: format!("tag {tag} is on a document of the unknown type `{kind}`"),
        hint: Some("nothing is deleted while it is not known what that reaches".to_owned()),
        not_found: false,
        source: None,
    }
}

fn children(manifest: &Manifest) -> Vec<&Descriptor> {
    match manifest {
        Manifest::Image(_) => Vec::new(),
        Manifest::Index(index) => index.manifests.iter().collect(),
    }
}

/// When an image was made, where it says so and does not hide it for the sake of same bytes.
fn time_of(config: &ImageConfig) -> Option<SystemTime> {
    let time: jiff::Timestamp = config.created.as_ref()?.parse().ok()?;
    let seconds = u64::try_from(time.as_second()).ok()?;
    (time.as_second() > EPOCH).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Asks about several things at once; the answers in their order, or the first failure.
fn each<T: Sync, R: Send>(
    items: &[T],
    ask: impl Fn(&T) -> Result<R, EndpointError> + Sync,
) -> Result<Vec<R>, EndpointError> {
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<(usize, Result<R, EndpointError>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let answer = ask(item);
                    if answer.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    answers.lock().unwrap_or_else(PoisonError::into_inner).push((at, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
