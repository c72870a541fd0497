//! Names on the command line → tiers of members to build (specification, section 4).
//!
//! A name is a short name made by rule from the plan (`cpu`, `arm64-base`, `all`), or the canonical
//! `FLAVOR[/ARCH][:TIER]`, where each part may be a pattern with `*` and `?`. Without an
//! architecture, a flavor means its first platform; a pattern means all.

use anyarch_oci::Platform;

use crate::diagnostic::nearest;
use crate::names::{Name, TierChoice, build_names};
use crate::plan::{Member, Plan};
pub use crate::target_error::TargetError;

/// One tier of one member, and with it every tier before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selection {
    /// Position in [`Plan::members`].
    pub member: usize,
    /// Position in the member's tiers of the last tier wanted.
    pub tier: usize,
}

impl Selection {
    /// The canonical target: `cpu/arm64` for the last tier, else `cpu/arm64:base`.
    pub fn canonical(&self, plan: &Plan) -> String {
        match plan.members.get(self.member) {
            Some(member) => match member.tiers.get(self.tier) {
                Some(tier) if self.tier + 1 < member.tiers.len() => {
                    format!("{member}:{}", tier.name)
                }
                _ => member.to_string(),
            },
            None => format!("member {}", self.member),
        }
    }
}

/// What to build for `names`, in the order of the plan, each once; no name means `all`.
///
/// `arch` (a short name such as `arm64`, or a platform) chooses among the members that a name can
/// mean; it is an error where it chooses none.
pub fn select(
    plan: &Plan,
    names: &[String],
    arch: Option<&str>,
) -> Result<Vec<Selection>, TargetError> {
    resolve(plan, names, arch, Meaning { names: build_names(plan), open_means_all: false })
}

/// Every short name with what it builds, in the order of the plan; `all` is the last.
pub fn short_names(plan: &Plan) -> Vec<(String, Vec<Selection>)> {
    let mut short: Vec<(String, Vec<Selection>)> = Vec::new();
    for name in build_names(plan) {
        if !short.iter().any(|(known, _)| *known == name.name) {
            let members = name.default.map(|at| vec![at]).unwrap_or(name.members);
            short.push((name.name, tiers(plan, &members, &name.tier)));
        }
    }
    short
}

/// How names are understood.
pub(crate) struct Meaning {
    pub(crate) names: Vec<Name>,
    /// Whether a flavor without an architecture means all its platforms.
    pub(crate) open_means_all: bool,
}

pub(crate) fn resolve(
    plan: &Plan,
    names: &[String],
    arch: Option<&str>,
    meaning: Meaning,
) -> Result<Vec<Selection>, TargetError> {
    let arch = arch.map(short_arch);
    let every = ["all".to_owned()];
    let names = if names.is_empty() { &every[..] } else { names };
    let mut selected = Vec::new();
    for name in names {
        let found = find(plan, name, &meaning)?;
        let members = match &arch {
            Some(arch) => on_arch(plan, name, &found, arch)?,
            None if meaning.open_means_all => found.members,
            None => found.default.map(|at| vec![at]).unwrap_or(found.members),
        };
        selected.extend(tiers(plan, &members, &found.tier));
    }
    selected.sort();
    selected.dedup();
    Ok(selected)
}

/// What a name can mean.
struct Found {
    members: Vec<usize>,
    default: Option<usize>,
    tier: TierChoice,
    flavor: Option<String>,
    group: bool,
}

fn find(plan: &Plan, name: &str, meaning: &Meaning) -> Result<Found, TargetError> {
    let (group, tier) = match name.split_once(':') {
        Some((group, tier)) => (group, Some(tier)),
        None => (name, None),
    };
    let short = meaning.names.iter().find(|known| known.name == group);
    let mut found = match (short, group.split_once('/')) {
        (Some(short), _) => Found {
            members: short.members.clone(),
            default: short.default,
            tier: short.tier.clone(),
            flavor: short.flavor.clone(),
            group: short.members.len() > 1,
        },
        (None, Some((flavor, arch))) => canonical(plan, name, flavor, arch, meaning)?,
        (None, None) if is_pattern(group) => pattern(plan, name, group, "*")?,
        (None, None) => return Err(unknown(name, meaning)),
    };
    if let Some(tier) = tier {
        choose_tier(plan, name, tier, &mut found, meaning)?;
    }
    Ok(found)
}

/// Narrows `found` to the members that have the tier, and to that tier of them.
fn choose_tier(
    plan: &Plan,
    name: &str,
    tier: &str,
    found: &mut Found,
    meaning: &Meaning,
) -> Result<(), TargetError> {
    if found.tier != TierChoice::Last {
        return Err(unknown(name, meaning));
    }
    let of_member = |at: &usize| plan.members.get(*at).map(|m| m.tiers.as_slice());
    let has = |at: &usize| {
        of_member(at).is_some_and(|tiers| tiers.iter().any(|known| matches(tier, &known.name)))
    };
    let members: Vec<usize> = found.members.iter().copied().filter(|at| has(at)).collect();
    if members.is_empty() {
        let mut known: Vec<String> = Vec::new();
        for tier in found.members.iter().filter_map(of_member).flatten() {
            if !known.contains(&tier.name) {
                known.push(tier.name.clone());
            }
        }
        let of = match &found.flavor {
            Some(flavor) => format!("flavor `{flavor}`"),
            None => "what it names".to_owned(),
        };
        return Err(TargetError::UnknownTier {
            name: name.to_owned(),
            tier: tier.to_owned(),
            of,
            known,
        });
    }
    found.default = found.default.filter(|at| members.contains(at));
    found.members = members;
    found.tier = TierChoice::Named(tier.to_owned());
    Ok(())
}

fn canonical(
    plan: &Plan,
    name: &str,
    flavor: &str,
    arch: &str,
    meaning: &Meaning,
) -> Result<Found, TargetError> {
    if is_pattern(flavor) || is_pattern(arch) {
        return pattern(plan, name, flavor, arch);
    }
    if plan.flavor(flavor).is_none() {
        return Err(unknown(name, meaning));
    }
    let found = Found {
        members: plan.members_of(flavor),
        default: None,
        tier: TierChoice::Last,
        flavor: Some(flavor.to_owned()),
        group: true,
    };
    let members = on_arch(plan, name, &found, &short_arch(arch))?;
    Ok(Found { members, group: false, flavor: None, ..found })
}

fn pattern(plan: &Plan, name: &str, flavor: &str, arch: &str) -> Result<Found, TargetError> {
    let fits = |member: &Member| matches(flavor, &member.flavor) && matches(arch, &member.arch());
    let members: Vec<usize> =
        plan.members.iter().enumerate().filter(|(_, m)| fits(m)).map(|(at, _)| at).collect();
    if members.is_empty() {
        return Err(nothing(plan, name, None));
    }
    Ok(Found { members, default: None, tier: TierChoice::Last, flavor: None, group: true })
}

/// Those members of `found` that are on `arch`.
fn on_arch(plan: &Plan, name: &str, found: &Found, arch: &str) -> Result<Vec<usize>, TargetError> {
    let arch_of = |at: &usize| plan.members.get(*at).map(Member::arch);
    let members: Vec<usize> =
        found.members.iter().copied().filter(|at| arch_of(at).as_deref() == Some(arch)).collect();
    if !members.is_empty() {
        return Ok(members);
    }
    Err(match &found.flavor {
        Some(flavor) => no_such_platform(plan, flavor, arch),
        None if found.group => nothing(plan, name, Some(arch)),
        None => {
            let is: Vec<String> = found.members.iter().filter_map(arch_of).collect();
            let (name, is) = (name.to_owned(), is.join(", "));
            TargetError::ArchConflict { name, is, arch: arch.to_owned() }
        }
    })
}

fn no_such_platform(plan: &Plan, flavor: &str, arch: &str) -> TargetError {
    let platform = |at: &usize| plan.members.get(*at).map(|m| m.platform.to_string());
    let listed: Vec<String> = plan.members_of(flavor).iter().filter_map(platform).collect();
    let known = crate::platforms::known().find(|known| known.short_arch() == arch);
    let add = known.map(|known| {
        let all: Vec<String> = listed
            .iter()
            .cloned()
            .chain([known.to_string()])
            .map(|platform| format!("\"{platform}\""))
            .collect();
        format!("platforms = [{}]", all.join(", "))
    });
    let span = plan.flavor(flavor).map(|flavor| flavor.platforms_span.start);
    TargetError::NoSuchPlatform {
        flavor: flavor.to_owned(),
        arch: arch.to_owned(),
        listed,
        line: plan.line(span.unwrap_or_default()),
        add,
    }
}

fn nothing(plan: &Plan, name: &str, arch: Option<&str>) -> TargetError {
    TargetError::NothingMatches {
        name: name.to_owned(),
        arch: arch.map(str::to_owned),
        members: plan.members.iter().map(Member::to_string).collect(),
    }
}

fn unknown(name: &str, meaning: &Meaning) -> TargetError {
    let mut known: Vec<String> = Vec::new();
    for short in meaning.names.iter().filter(|short| short.tier == TierChoice::Last) {
        if !known.contains(&short.name) {
            known.push(short.name.clone());
        }
    }
    let of_tier = |short: &&Name| short.tier != TierChoice::Last;
    TargetError::Unknown {
        name: name.to_owned(),
        suggestion: nearest(name, meaning.names.iter().map(|short| short.name.as_str()))
            .map(str::to_owned),
        known,
        tier: meaning.names.iter().find(of_tier).map(|short| short.name.clone()),
    }
}

fn tiers(plan: &Plan, members: &[usize], choice: &TierChoice) -> Vec<Selection> {
    let mut selected = Vec::new();
    for &at in members {
        let Some(member) = plan.members.get(at) else { continue };
        for (tier, of) in member.tiers.iter().enumerate() {
            let wanted = match choice {
                TierChoice::Last => tier + 1 == member.tiers.len(),
                TierChoice::Named(name) => matches(name, &of.name),
            };
            if wanted {
                selected.push(Selection { member: at, tier });
            }
        }
    }
    selected
}

/// Whether two choices mean the same tiers of `members`.
pub(crate) fn same_tiers(
    plan: &Plan,
    members: &[usize],
    one: &TierChoice,
    other: &TierChoice,
) -> bool {
    tiers(plan, members, one) == tiers(plan, members, other)
}

/// The short name of an architecture, from a short name, an alias, or a platform.
fn short_arch(text: &str) -> String {
    let full = if text.contains('/') && text.starts_with("linux/") {
        text.to_owned()
    } else {
        format!("linux/{text}")
    };
    match full.parse::<Platform>() {
        Ok(platform) => platform.short_arch(),
        Err(_) => text.to_owned(),
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether `text` matches `pattern`, in which `*` is any text and `?` any character.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}
