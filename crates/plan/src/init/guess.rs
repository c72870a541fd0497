//! Paths and texts of Dockerfiles → chains of tiers, by convention.

use std::collections::BTreeMap;

/// What was made of the Dockerfiles.
#[derive(Debug, Default)]
pub(super) struct Guessed {
    /// Flavors, those without an accelerator first.
    pub(super) chains: Vec<Chain>,
    /// Dockerfiles that found no place.
    pub(super) unused: Vec<String>,
}

/// One flavor.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) flavor: String,
    pub(super) accelerator: Option<String>,
    /// Tiers in order, with the Dockerfile that most platforms use.
    pub(super) links: Vec<Link>,
    /// Platform the links are for, when their names say one.
    home: String,
    /// Dockerfiles that only one platform uses.
    pub(super) overrides: BTreeMap<String, Vec<Link>>,
    /// What was guessed.
    pub(super) remarks: Vec<String>,
}

/// One tier and its Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) tier: String,
    pub(super) path: String,
}

impl Chain {
    pub(super) fn new(flavor: &str, links: Vec<Link>) -> Chain {
        let accelerator = match flavor.split('-').next() {
            Some("cuda" | "gpu") => Some("cuda".to_owned()),
            Some("rocm") => Some("rocm".to_owned()),
            _ => None,
        };
        Chain {
            flavor: flavor.to_owned(),
            accelerator,
            links,
            home: "linux/amd64".to_owned(),
            overrides: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }

    /// The platforms, the one the links are for first.
    pub(super) fn platforms(&self) -> Vec<String> {
        let others = self.overrides.keys().filter(|platform| **platform != self.home);
        std::iter::once(&self.home).chain(others).cloned().collect()
    }
}

/// A Dockerfile and what the words of its path say.
#[derive(Clone, Debug)]
struct Piece {
    path: String,
    flavor: Option<String>,
    platform: Option<String>,
    tier: String,
    /// Whether it takes the tier before it as `ARG BASE_IMAGE`.
    chained: bool,
}

pub(super) fn guess(dockerfiles: &[(String, String)]) -> Guessed {
    let mut pieces: Vec<Piece> = dockerfiles.iter().map(|(path, text)| piece(path, text)).collect();
    pieces.sort_by(|a, b| a.path.cmp(&b.path));
    pieces.dedup_by(|a, b| a.path == b.path);
    // A Dockerfile that takes no base is an image of its own, unless it is the base of a chain.
    let any_chained = pieces.iter().any(|piece| piece.chained);
    let (family, alone): (Vec<Piece>, Vec<Piece>) = pieces
        .into_iter()
        .partition(|piece| piece.chained || (any_chained && rank(&piece.tier) == 0));
    let mut guessed = Guessed::default();
    families(&family, &mut guessed);
    singles(&alone, &mut guessed);
    guessed.chains.sort_by_key(|chain| chain.accelerator.is_some());
    guessed
}

/// Chains of tiers: Dockerfiles without a flavor belong to all of them.
fn families(pieces: &[Piece], guessed: &mut Guessed) {
    let mut flavors: Vec<&str> =
        pieces.iter().filter_map(|piece| piece.flavor.as_deref()).collect();
    flavors.sort();
    flavors.dedup();
    let lone_platform = pieces.iter().any(|p| p.flavor.is_none() && p.platform.is_some());
    if !pieces.is_empty() && !flavors.contains(&"cpu") && (flavors.is_empty() || lone_platform) {
        flavors.insert(0, "cpu");
    }
    let mut used: Vec<&str> = Vec::new();
    for flavor in flavors {
        let special = Chain::new(flavor, Vec::new()).accelerator.is_some();
        let belongs = |piece: &&Piece| match (&piece.flavor, &piece.platform) {
            (Some(of), _) => of == flavor,
            (None, Some(_)) => !special,
            (None, None) => true,
        };
        // Own Dockerfiles go before shared ones.
        let mut own: Vec<&Piece> = pieces.iter().filter(belongs).collect();
        own.sort_by_key(|piece| (rank(&piece.tier), &piece.tier, piece.flavor.is_none()));
        let mut chain = assemble(flavor, &own, &mut used);
        if chain.links.len() > 1 {
            let order: Vec<&str> = chain.links.iter().map(|link| link.tier.as_str()).collect();
            chain.remarks.push(format!("the order of the tiers, {}", order.join(" → ")));
        }
        guessed.chains.push(chain);
    }
    let left = pieces.iter().filter(|piece| !used.contains(&piece.path.as_str()));
    guessed.unused.extend(left.map(|piece| piece.path.clone()));
}

/// Images of one tier each.
fn singles(pieces: &[Piece], guessed: &mut Guessed) {
    let mut groups: BTreeMap<(Option<&str>, &str), Vec<&Piece>> = BTreeMap::new();
    for piece in pieces {
        groups.entry((piece.flavor.as_deref(), &piece.tier)).or_default().push(piece);
    }
    for ((flavor, tier), group) in groups {
        let wanted = match (flavor, tier) {
            (None, "app") => "cpu".to_owned(),
            (None, tier) => tier.to_owned(),
            (Some(flavor), "app") => flavor.to_owned(),
            (Some(flavor), tier) => format!("{flavor}-{tier}"),
        };
        let name = free_name(&wanted, &guessed.chains);
        let mut used = Vec::new();
        let renamed: Vec<Piece> = group
            .iter()
            .map(|piece| Piece { tier: "app".to_owned(), ..(*piece).clone() })
            .collect();
        let borrowed: Vec<&Piece> = renamed.iter().collect();
        let mut chain = assemble(&name, &borrowed, &mut used);
        if name != wanted {
            chain.remarks.push(format!("the name, because `{wanted}` has another meaning"));
        }
        let left = group.iter().filter(|piece| !used.contains(&piece.path.as_str()));
        guessed.unused.extend(left.map(|piece| piece.path.clone()));
        guessed.chains.push(chain);
    }
}

/// One chain of the pieces, which come in the order of their tiers, the best of each tier first.
fn assemble<'p>(flavor: &str, pieces: &[&'p Piece], used: &mut Vec<&'p str>) -> Chain {
    let mut chain = Chain::new(flavor, Vec::new());
    let mut tiers: Vec<&str> = Vec::new();
    for piece in pieces {
        if !tiers.contains(&piece.tier.as_str()) {
            tiers.push(&piece.tier);
        }
    }
    let mut homes: Vec<Option<&str>> = Vec::new();
    let mut overrides: Vec<(&str, Link)> = Vec::new();
    for tier in tiers {
        let of_tier: Vec<&&Piece> = pieces.iter().filter(|piece| piece.tier == tier).collect();
        let main = of_tier
            .iter()
            .find(|piece| piece.platform.is_none())
            .or_else(|| of_tier.iter().find(|p| p.platform.as_deref() == Some("linux/amd64")))
            .or_else(|| of_tier.first());
        let Some(main) = main else { continue };
        used.push(&main.path);
        homes.push(main.platform.as_deref());
        chain.links.push(Link { tier: tier.to_owned(), path: main.path.clone() });
        for piece in &of_tier {
            let Some(platform) = piece.platform.as_deref() else { continue };
            let taken = overrides.iter().any(|(of, link)| *of == platform && link.tier == tier);
            if piece.path != main.path && main.platform.as_deref() != Some(platform) && !taken {
                let link = Link { tier: tier.to_owned(), path: piece.path.clone() };
                overrides.push((platform, link));
                used.push(&piece.path);
            }
        }
    }
    for (platform, link) in overrides {
        chain.overrides.entry(platform.to_owned()).or_default().push(link);
    }
    // All for one platform: that is the only one. Some: the others build on it all the same.
    let named: Vec<&str> = homes.iter().filter_map(|home| *home).collect();
    if let (Some(first), true) = (named.first(), named.len() == homes.len()) {
        chain.home = (*first).to_owned();
    }
    if chain.platforms().iter().any(|platform| platform != "linux/amd64") {
        chain.remarks.push("the platforms, from the names of folders and files".to_owned());
    } else {
        chain.remarks.push("the platform; more of them may build as they are".to_owned());
    }
    if !named.is_empty() && chain.platforms().len() > 1 {
        chain.remarks.push("a Dockerfile named for one platform is used on others".to_owned());
    }
    chain
}

/// `wanted`, or a name near it that is no target of the other chains.
fn free_name(wanted: &str, chains: &[Chain]) -> String {
    let taken = |name: &str| {
        matches!(name, "all" | "app" | "publish")
            || name.starts_with("publish-")
            || chains.iter().any(|chain| {
                let flavor = chain.flavor.as_str();
                name == flavor
                    || [format!("{flavor}-app"), format!("app-{flavor}")].iter().any(|n| n == name)
                    || chain.links.iter().any(|Link { tier, .. }| {
                        name == tier
                            || name == format!("{flavor}-{tier}")
                            || name == format!("{tier}-{flavor}")
                    })
            })
    };
    let numbered = (2..).map(|number| format!("image-{wanted}-{number}"));
    std::iter::once(wanted.to_owned())
        .chain([format!("image-{wanted}")])
        .chain(numbered)
        .find(|name| !taken(name))
        .unwrap_or_else(|| wanted.to_owned())
}

/// Position of a tier in a chain, by the names that repositories use.
fn rank(tier: &str) -> u8 {
    match tier {
        "base" | "os" | "system" => 0,
        "app" | "runtime" | "final" | "prod" | "production" | "release" => 2,
        _ => 1,
    }
}

fn piece(path: &str, text: &str) -> Piece {
    let lower = path.to_lowercase().replace("x86_64", "amd64").replace("x86-64", "amd64");
    let mut piece = Piece {
        path: path.to_owned(),
        flavor: None,
        platform: None,
        tier: String::new(),
        chained: takes_base(text),
    };
    let mut tier: Vec<&str> = Vec::new();
    for word in lower.split(|c: char| !c.is_ascii_alphanumeric()) {
        match word {
            "cpu" | "cuda" | "gpu" | "rocm" if piece.flavor.is_none() => {
                piece.flavor = Some(word.to_owned());
            }
            "" | "docker" | "dockerfile" | "dockerfiles" | "containerfile" | "container"
            | "containers" | "image" | "images" | "build" | "deploy" | "linux" => {}
            word => match platform(word) {
                Some(platform) if piece.platform.is_none() => {
                    piece.platform = Some(platform.to_owned());
                }
                Some(_) => {}
                None if !tier.contains(&word) => tier.push(word),
                None => {}
            },
        }
    }
    let name: String = tier.join("-").chars().take(40).collect();
    let name = name.trim_matches('-');
    piece.tier = match name {
        "" => "app".to_owned(),
        "all" | "publish" => format!("image-{name}"),
        name if name.starts_with("publish-") => format!("image-{name}"),
        name => name.to_owned(),
    };
    piece
}

fn platform(word: &str) -> Option<&'static str> {
    match word {
        "amd64" => Some("linux/amd64"),
        "arm64" | "aarch64" | "arm64v8" => Some("linux/arm64"),
        "armv7" | "armhf" | "arm32v7" => Some("linux/arm/v7"),
        "riscv64" => Some("linux/riscv64"),
        "ppc64le" => Some("linux/ppc64le"),
        "s390x" => Some("linux/s390x"),
        _ => None,
    }
}

/// Whether a line says `ARG BASE_IMAGE`.
fn takes_base(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("arg"))
            && words.any(|word| word.split('=').next() == Some("BASE_IMAGE"))
    })
}
