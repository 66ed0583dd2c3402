//! Reads a platform's checkout: its ExternalSecrets, the kustomizations that move them, its Applications, helm values and configurations.
//! `resolve` draws the conclusions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::iter;
use std::num::NonZeroUsize;

use regex::bytes::Regex;

use super::inventory::Files;
use crate::manifest::external_secret::{self, ExternalSecret, StoreRef};
use crate::manifest::gitops::{self, AppProject, Application, Applied, Change, Kustomization, Patch};
use crate::manifest::kubernetes::{self, Identity};
use crate::manifest::{text, yaml};
use crate::model::{Code, Configuration, Error, Finding, Namespace, Position, Result, Sorted, on_threads};

/// What a checkout's files contain about secrets.
#[derive(Default)]
pub struct Platform {
    pub root: String,
    /// The manifests that are applied as they are.
    pub manifests: Vec<Manifest>,
    /// What another tool makes ExternalSecrets from.
    pub made: Vec<Manifest>,
    /// What PushSecrets write: file, store, key, position.
    pub pushed: Vec<(String, StoreRef, String, Position)>,
    /// Every object in the relevant files, each with its file and position.
    pub objects: Vec<(String, Identity, Position)>,
    /// Keys in helm values: file, key, position.
    pub helm: Vec<(String, String, Position)>,
    pub kustomizations: BTreeMap<String, Kustomization>,
    pub applications: Vec<Application>,
    /// The folders that Applications or Flux apply.
    applied: Vec<Applied>,
    pub projects: Vec<(String, AppProject)>,
    /// The namespace of manifests for which nothing else sets one.
    pub otherwise: Option<Namespace>,
    /// By environment, from `environments/<name>/config.yaml`.
    pub configurations: BTreeMap<String, Result<Configuration>>,
    /// What could not be read, or was skipped.
    pub notes: Vec<Finding>,
    /// The folders of the kustomizations that list a file or folder.
    listed_by: HashMap<String, BTreeSet<String>>,
    patch_files: HashSet<String>,
    /// What kustomizations change, each with its file.
    patches: Vec<(String, Patch)>,
    /// By file: where it, taken as a patch, changes an ExternalSecret or a store, first if a selector selects that, then by its own kind.
    changing: HashMap<String, [Option<Change>; 2]>,
    /// Earlier results of [`Platform::kustomized`].
    moves: RefCell<HashMap<String, BTreeSet<Moved>>>,
}

/// How deep components may include each other.
const MOST_COMPONENTS: usize = 8;

/// Where kustomize puts an object: the namespace of the outermost kustomization that sets one, and the folder of the outermost
/// kustomization of all.
pub type Moved = (Option<String>, String);

/// An ExternalSecret, and the file that holds it.
pub struct Manifest {
    /// Its file, relative to the checkout.
    pub file: String,
    pub secret: ExternalSecret,
}

/// Which files to parse: those that mention secrets, or may define an object with one of these names. One pass over each file searches for
/// all words: nothing but words, they need no automaton. Another searches for the one word that has many spellings.
pub fn mattering(names: &[&str]) -> impl Fn(&str, &[u8]) -> bool + Sync + use<> {
    let words: Vec<String> = WORDS.iter().chain(names).map(|word| regex::escape(word)).collect();
    let words = Regex::new(&words.join("|")).expect("words are a regular expression");
    move |path, bytes| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let is_named = is_kustomization(name) || name == "Chart.yaml" || environment(path).is_some();
        is_named || words.is_match(bytes) || names_external_secret(bytes)
    }
}

/// Whether it holds `external-secret`, in any case, with `_` or nothing instead of `-`. Few bytes of a text are its second letter.
fn names_external_secret(bytes: &[u8]) -> bool {
    let begins = |text: &[u8], word: &[u8]| text.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    memchr::memchr2_iter(b'x', b'X', bytes).any(|at| {
        let word = &bytes[at.saturating_sub(1)..];
        let rest = word.get(b"external".len()..).unwrap_or_default();
        begins(word, b"external") && begins(rest.strip_prefix(b"-").or(rest.strip_prefix(b"_")).unwrap_or(rest), b"secret")
    })
}

/// Words about secrets, or about what applies and patches them.
const WORDS: [&str; 9] =
    ["remoteRef", "remoteKey", "argoproj.io/", "toolkit.fluxcd.io/", "secretStoreRef", "dataFrom", "/spec", "/metadata", "fieldPaths"];

fn is_kustomization(name: &str) -> bool {
    gitops::KUSTOMIZATIONS.contains(&name)
}

/// The environment that this configuration belongs to.
fn environment(path: &str) -> Option<&str> {
    path.strip_prefix("environments/")?.strip_suffix("/config.yaml").filter(|name| !name.contains('/'))
}

/// The folder of a path; the checkout itself is "".
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Parses the files, on this many threads.
pub fn scan(root: &str, files: &Files, threads: NonZeroUsize) -> Result<Platform> {
    let charts: BTreeSet<String> = files.keys().filter(|path| path.ends_with("Chart.yaml")).map(|path| folder(path).to_owned()).sorted();
    let mut whole = take_apart(root, files, threads, &charts)?;
    for (folder, kustomization) in &whole.kustomizations {
        for entry in kustomization.resources.iter().chain(&kustomization.components) {
            if let Some(path) = joined(folder, entry).filter(|path| path != folder) {
                whole.listed_by.entry(path).or_default().insert(folder.clone());
            }
        }
        // The objects in its own text and in its charts' values move like those that it lists.
        let own = gitops::KUSTOMIZATIONS.into_iter().map(str::to_owned);
        for path in own.chain(kustomization.values_files.iter().cloned()).filter_map(|entry| joined(folder, &entry)) {
            whole.listed_by.entry(path).or_default().insert(folder.clone());
        }
        whole.patch_files.extend(kustomization.patch_files.iter().filter_map(|entry| joined(folder, entry)));
    }
    for (file, patch) in &mut whole.patches {
        let Some(entry) = patch.path.take() else { continue };
        let of_application = patch.from.is_some();
        patch.path = joined(patch.from.as_deref().unwrap_or(folder(file)), &entry).filter(|path| files.contains_key(path));
        // A patch file that cannot be found may change anything that it selects.
        whole.patch_files.extend(patch.path.clone().filter(|_| of_application));
        patch.changes |= of_application && patch.path.is_none() && patch.selects != Some(false);
    }
    Ok(whole)
}

/// Parses each file; every thread takes one share of them.
fn take_apart(root: &str, files: &Files, threads: NonZeroUsize, charts: &BTreeSet<String>) -> Result<Platform> {
    let empty = || Platform { root: root.to_owned(), ..Platform::default() };
    let all: Vec<(&String, &Vec<u8>)> = files.iter().collect();
    let shares: Vec<_> = all.chunks(all.len().div_ceil(threads.get()).max(1)).collect();
    let parts = on_threads(shares, threads, |share| {
        let mut part = empty();
        share.iter().for_each(|(path, bytes)| part.add(path, bytes, charts));
        part
    })?;
    let mut whole = empty();
    for part in parts {
        whole.manifests.extend(part.manifests);
        whole.made.extend(part.made);
        whole.pushed.extend(part.pushed);
        whole.patches.extend(part.patches);
        whole.changing.extend(part.changing);
        whole.objects.extend(part.objects);
        whole.helm.extend(part.helm);
        whole.kustomizations.extend(part.kustomizations);
        whole.applications.extend(part.applications);
        whole.applied.extend(part.applied);
        whole.projects.extend(part.projects);
        whole.configurations.extend(part.configurations);
        whole.notes.extend(part.notes);
    }
    Ok(whole)
}

impl Platform {
    fn add(&mut self, path: &str, bytes: &[u8], charts: &BTreeSet<String>) {
        let name = path.rsplit('/').next().unwrap_or(path);
        // Examples are not applied.
        if name == "Chart.yaml" || text::ends(name, &[".example.yaml", ".example.yml", ".example.json"]) {
            return;
        }
        let text = match text::decode(bytes) {
            Ok(text) => text,
            Err(error) => return self.unreadable(path, error),
        };
        let in_chart = path.match_indices("/templates/").any(|(at, _)| charts.contains(&path[..at]))
            || (path.starts_with("templates/") && charts.contains(""));
        if in_chart || text::ends(name, &external_secret::TEMPLATES) {
            let mentions = if in_chart { external_secret::mentions(text) } else { external_secret::makes_one(text) };
            let secret = mentions.then(|| external_secret::template(text, 0..text.len()));
            return self.made.extend(secret.map(|secret| Manifest { file: path.to_owned(), secret }));
        }
        if let Some(environment) = environment(path) {
            let read = yaml::read_foreign(text).and_then(|documents| gitops::configuration(&documents));
            let configuration = read.map_err(|error| error.in_file(&shown(&self.root, path)));
            self.configurations.insert(environment.to_owned(), configuration);
        }
        self.take_in(path, text);
    }

    /// Adds what the documents of a file contain.
    fn take_in(&mut self, path: &str, text: &str) {
        let documents = yaml::documents(text);
        let here = |secret| Manifest { file: path.to_owned(), secret };
        let found = external_secret::find(text, &documents);
        let (made, manifests): (Vec<_>, Vec<_>) = found.secrets.into_iter().map(here).partition(|one| one.secret.made.is_some());
        self.manifests.extend(manifests);
        self.made.extend(made);
        self.pushed.extend(found.pushed.into_iter().map(|(store, key, position)| (path.to_owned(), store, key, position)));
        self.helm.extend(found.remote_keys.into_iter().map(|(key, position)| (path.to_owned(), key, position)));
        self.patches.extend(found.patches.into_iter().map(|patch| (path.to_owned(), patch)));
        found.unread.iter().filter(|_| environment(path).is_none()).for_each(|error| self.unreadable(path, error.clone()));
        for nodes in documents.iter().flat_map(|document| &document.nodes) {
            let is_one = is_kustomization(path.rsplit('/').next().unwrap_or(path));
            if let Some(found) = is_one.then(|| gitops::kustomization(nodes)).flatten() {
                let transformers = found.transformers.iter().map(|position| (path.to_owned(), Patch::here(true, *position)));
                self.patches.extend(transformers);
                self.kustomizations.entry(folder(path).to_owned()).or_insert(found);
            }
            let changing = [gitops::changed(nodes, Some(true)), gitops::changed(nodes, None)];
            if changing.iter().any(Option::is_some) {
                self.changing.entry(path.to_owned()).or_insert(changing);
            }
            let objects = kubernetes::identities(nodes).into_iter();
            self.objects.extend(objects.map(|(object, position)| (path.to_owned(), object, position)));
            let (applications, projects) = gitops::argo(nodes);
            self.applications.extend(applications);
            self.applied.extend(gitops::applied(nodes));
            self.projects.extend(projects.into_iter().map(|project| (path.to_owned(), project)));
        }
    }

    /// An unreadable configuration is an error only once it is asked for.
    fn unreadable(&mut self, path: &str, error: Error) {
        match environment(path) {
            Some(environment) => {
                let error = error.in_file(&shown(&self.root, path));
                self.configurations.insert(environment.to_owned(), Err(error));
            }
            None => self.note(Code::Unreadable, path, error.position(), error.what(), &error.help()),
        }
    }

    /// Notes these skipped links and large files.
    pub fn pass_over(&mut self, links: &[String]) {
        for path in links {
            let (what, help) =
                ("skipped: a link, or larger than 16 MiB", "replace it with the file itself if that holds an ExternalSecret");
            self.note(Code::LinkPassedOver, path, None, what.to_owned(), help);
        }
    }

    fn note(&mut self, code: Code, path: &str, position: Option<Position>, what: String, help: &str) {
        self.notes.push(finding(&self.root, code, path, position, what, help));
    }

    /// Where kustomize puts the content of this file or folder; several places if overlays share a base.
    pub fn kustomized(&self, path: &str) -> BTreeSet<Moved> {
        if let Some(known) = self.moves.borrow().get(path) {
            return known.clone();
        }
        let itself: BTreeSet<Moved> = iter::once((None, path.to_owned())).sorted();
        // Guards against a kustomization that lists itself through others; kustomize refuses it.
        self.moves.borrow_mut().insert(path.to_owned(), itself.clone());
        let mut found = BTreeSet::new();
        for (folder, kustomization) in self.listing(path) {
            for (outer, root) in self.kustomized(folder) {
                found.insert((outer.or_else(|| self.sets(folder, kustomization, 0)), root));
            }
        }
        let found = if found.is_empty() { itself } else { found };
        self.moves.borrow_mut().insert(path.to_owned(), found.clone());
        found
    }

    /// The namespace that a kustomization sets: its own, or else that of its last component that sets one.
    fn sets(&self, folder: &str, kustomization: &Kustomization, depth: usize) -> Option<String> {
        let own = kustomization.namespace.clone().or_else(|| self.components_set(folder, &kustomization.components, depth));
        own.filter(|_| depth < MOST_COMPONENTS)
    }

    fn components_set(&self, from: &str, components: &[String], depth: usize) -> Option<String> {
        components.iter().rev().filter(|_| depth < MOST_COMPONENTS).find_map(|entry| {
            let folder = joined(from, entry)?;
            self.sets(&folder, self.kustomizations.get(&folder)?, depth + 1)
        })
    }

    /// The namespaces in which an object of this file will be; `own` is the one in its manifest. They come from kustomize, the manifest or
    /// the Application, in this order; none if none of them sets one.
    pub fn namespaces(&self, file: &str, own: Option<&str>) -> BTreeSet<Option<String>> {
        let place = |(moved, root): Moved| {
            let applied = self.applied_by(if root == file { folder(&root) } else { &root });
            let outermost = applied.and_then(|applied| applied.moved_to.clone());
            let of_root = || self.kustomizations.get(&root).and_then(|kustomization| kustomization.namespace.clone());
            let added = || applied.and_then(|applied| self.components_set(&joined("", &applied.path)?, &applied.components, 0));
            let given = || applied.and_then(|applied| applied.destination.clone());
            outermost.or_else(of_root).or_else(added).or(moved).or_else(|| own.map(str::to_owned)).or_else(given)
        };
        self.kustomized(file).into_iter().map(place).sorted()
    }

    /// The kustomizations that list this file or folder.
    fn listing<'p>(&'p self, path: &str) -> impl Iterator<Item = (&'p str, &'p Kustomization)> + use<'p> {
        let folders = self.listed_by.get(path).into_iter().flatten();
        folders.map(|folder| (folder.as_str(), &self.kustomizations[folder]))
    }

    /// Whether every kustomization that applies this file includes that component, itself or further out.
    pub fn includes(&self, path: &str, component: &str) -> bool {
        self.includes_known(path, component, &mut HashMap::new())
    }

    fn includes_known(&self, path: &str, component: &str, known: &mut HashMap<String, bool>) -> bool {
        if let Some(known) = known.get(path) {
            return *known;
        }
        known.insert(path.to_owned(), false);
        let mut listing = self.listing(path).peekable();
        let includes = listing.peek().is_some()
            && listing.all(|(folder, kustomization)| {
                kustomization.components.iter().any(|entry| joined(folder, entry).as_deref() == Some(component))
                    || self.includes_known(folder, component, known)
            });
        known.insert(path.to_owned(), includes);
        includes
    }

    /// Whether the file is only a patch that a kustomization merges.
    pub fn is_patch(&self, path: &str) -> bool {
        self.listing(path).next().is_none() && self.patch_files.contains(path)
    }

    /// The patches that may change what an ExternalSecret reads from this store, or the store itself: file and position.
    pub fn changes(&self, store: &str) -> BTreeSet<(String, Position)> {
        let of_file = |path: &str, selects: Option<bool>| match (self.changing.get(path)?, selects) {
            (_, Some(false)) => None,
            ([selected, _], Some(true)) => selected.as_ref(),
            ([_, own], None) => own.as_ref(),
        };
        let place = |(file, patch): &(String, Patch)| {
            let (place, named) = match &patch.path {
                None => ((file.clone(), patch.position), None),
                Some(path) => of_file(path, patch.selects).map(|(position, named)| ((path.clone(), *position), named.as_ref()))?,
            };
            let is_it = patch.store.as_ref().or(named).is_none_or(|named| named == store);
            (is_it && (patch.path.is_some() || patch.changes)).then_some(place)
        };
        self.patches.iter().filter_map(place).sorted()
    }

    /// What applies this folder: the entry with the nearest path.
    fn applied_by(&self, path: &str) -> Option<&Applied> {
        let holds =
            |source: &str| source.is_empty() || path == source || path.strip_prefix(source).is_some_and(|rest| rest.starts_with('/'));
        let matching = self.applied.iter().filter_map(|applied| {
            let source = joined("", &applied.path).filter(|source| holds(source))?;
            Some((source.len(), applied))
        });
        matching.max_by_key(|(length, _)| *length).map(|(_, applied)| applied)
    }
}

/// The path, from the checkout's root, of an entry of the kustomization in `folder`; none if it leads out of the checkout.
pub fn joined(folder: &str, entry: &str) -> Option<String> {
    let mut steps: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    for step in entry.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()?),
            step => steps.push(step),
        }
    }
    Some(steps.join("/"))
}

/// A file of the checkout, with the checkout's path as the operator wrote it.
pub fn shown(root: &str, path: &str) -> String {
    if root == "." { path.to_owned() } else { format!("{root}/{path}") }
}

pub fn finding(root: &str, code: Code, path: &str, position: Option<Position>, what: String, help: &str) -> Finding {
    let place = match position {
        Some((line, column)) => format!("{}:{line}:{column}", shown(root, path)),
        None => shown(root, path),
    };
    Finding { code, place, what, help: help.to_owned() }
}
