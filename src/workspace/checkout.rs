//! The platform's checkout: its files, which ExternalSecret reads which key, and the store that it keeps.

use std::path::Path;

use super::{Workspace, parent};
use crate::manifest::{store, text};
use crate::model::{Code, Contract, Delivery, Error, ErrorKind, Finding, GitOps, Result, Store, StoreFile};
use crate::pipeline::argo_cd;
use crate::pipeline::defined_twice;
use crate::pipeline::difference;
use crate::pipeline::flux;
use crate::pipeline::inventory::Files;
use crate::pipeline::patch::{Edit, Edits};
use crate::pipeline::plan::Setting;
use crate::pipeline::platform::{self, Platform};
use crate::pipeline::render;
use crate::pipeline::resolve::{self, Resolved};
use crate::world::disk::{Kind, Links};
use crate::world::folder::{Folder, Writer, changed_meanwhile};
use crate::world::{World, files, git, tree};

impl Workspace {
    /// The basis of a run, and the contract's own text.
    pub fn setting(&self, world: &mut World) -> Result<(Setting, String)> {
        let (text, contract) = self.contract(world)?;
        let mut delivery = self.delivery()?;
        let Some(root) = self.platform_root() else {
            return Ok((Setting { contract, delivery, coverage: Vec::new() }, text));
        };
        let out = self.out_in(root)?;
        let (platform, files) = self.read_platform(root, &contract, &[], world)?;
        let patches = out.as_deref().map(|out| format!("{out}/property-patches"));
        let environment = resolve::configuration(&platform, self.environment()).map_err(|error| self.in_settings(error))?;
        let Resolved { contract, mut coverage } =
            resolve::resolve(contract, &platform, environment, patches.as_deref(), delivery.kind_asked_for())?;
        let by_argo = self.settings.gitops.is_none_or(|gitops| gitops == GitOps::ArgoCd);
        let by_flux = self.settings.gitops == Some(GitOps::Flux);
        delivery.flux = out.as_deref().filter(|_| by_flux).map(|out| flux::source(&files, out));
        delivery.application = out.filter(|_| by_argo).and_then(|out| resolve::application(&platform, &out));
        let store_file = delivery.store_file.as_ref().map_or(Ok(None), |file| self.in_checkout(Path::new(&file.path)))?;
        let store_file = store_file.map(|(_, way)| way.to_string_lossy().into_owned());
        coverage.extend(defined_twice::find(&contract, &delivery, &platform, store_file.as_deref()));
        coverage.extend(delivery.application.as_ref().and_then(|application| resolve::check_project(&platform, application)));
        let lacks = |finding: &Finding| matches!(finding.code, Code::PropertyMissing | Code::PropertyDiffers | Code::StoreKindDiffers);
        delivery.patched = !coverage.iter().any(lacks);
        Ok((Setting { contract, delivery, coverage }, text))
    }

    /// How the values reach their consumers, as far as the settings say.
    pub fn delivery(&self) -> Result<Delivery> {
        let Store { kind, isolation, rbac, project_id, .. } = &self.settings.store;
        let file = self.joined.store_file.as_deref();
        Ok(Delivery {
            store_kind: kind.unwrap_or_default(),
            names_kind: kind.is_some(),
            isolation: *isolation,
            rbac: *rbac,
            store_file: file.map(|path| self.read_store_file(path, project_id.as_deref())).transpose()?,
            controller: self.controller.clone(),
            here: self.places_from_out()?,
            platform: self.platform_root().is_some(),
            patched: false,
            application: None,
            flux: None,
        })
    }

    pub fn environment(&self) -> Option<&str> {
        self.joined.environment.value.as_deref().and_then(Path::to_str)
    }

    /// Adds the settings' position to an error about an environment that does not exist.
    fn in_settings(&self, error: Error) -> Error {
        match self.found.as_ref().filter(|_| self.environment().is_some() && self.flags.environment.is_none()) {
            Some(found) if error.kind == ErrorKind::Usage => {
                let help = error.help().replace("`--environment`", "`environment:`");
                Error::bad_input(error.what(), help).in_file(&found.file.to_string_lossy())
            }
            _ => error,
        }
    }

    pub fn platform_root(&self) -> Option<&Path> {
        self.joined.platform.value.as_deref()
    }

    /// The output folder's path in a checkout, with `/`; none if it is outside. A link on the way is refused.
    pub fn out_in(&self, root: &Path) -> Result<Option<String>> {
        Ok(self.path_in(root, &self.out)?.filter(|path| !path.is_empty()))
    }

    fn path_in(&self, root: &Path, folder: &Path) -> Result<Option<String>> {
        let Some(root) = Folder::open_root(&*self.disk, root)? else { return Ok(None) };
        let path = root.way_to(&*self.disk, folder)?;
        if let Some(path) = &path {
            root.beneath(path)?;
        }
        Ok(path.and_then(|path| path.to_str().map(str::to_owned)))
    }

    /// Reads and parses a checkout; also returns its files, including those that hold one of these words. Our own output folder says
    /// nothing about the platform, and is skipped.
    pub fn read_platform(&self, root: &Path, contract: &Contract, words: &[&str], world: &World) -> Result<(Platform, Files)> {
        // Only these paths: a platform's own manifests may be next to them.
        const OURS: [&str; 7] = [
            "secret-source/",
            "secret-store/",
            "property-patches/",
            argo_cd::APPLICATION,
            argo_cd::CONTROLLER,
            argo_cd::EXTERNAL_SECRETS,
            flux::KUSTOMIZATIONS,
        ];
        let ours = |path: &str| OURS.iter().any(|ours| path.starts_with(ours));
        let out = self.path_in(root, &self.out)?;
        let mut sets = vec![self.path_in(root, self.of_all()?.as_ref().map_or(&self.out, |all| &all.out))?];
        for cluster in self.settings.clusters.keys() {
            sets.push(self.path_in(root, &self.of(cluster)?.out)?);
        }
        let names = [contract.store.as_str(), contract.namespace.as_str(), contract.reader.name.as_str()];
        let excluded = self.excluded_below(root)?;
        let matters = platform::mattering(&[&names, words].concat());
        let matters = |path: &str, bytes: &[u8]| {
            let rest = |folder: &Option<String>| Path::new(path).strip_prefix(folder.as_ref()?).ok()?.to_str();
            // The sets of other clusters, and the one without `--cluster`, are applied from there too.
            let of_set = |rest: &str| ours(rest) || rest.split_once('/').is_some_and(|(_, rest)| ours(rest));
            let beside = || sets.iter().any(|set| rest(set).is_some_and(of_set));
            let is_written = || render::is_derived(bytes) || path.ends_with(".sealed.yaml");
            let passed_over = excluded(path) || rest(&out).is_some_and(ours) || beside() && is_written();
            !passed_over && matters(path, bytes)
        };
        let tree = tree::read(&*self.disk, root, &matters, world.threads)?;
        let shown = root.to_string_lossy();
        let mut platform = platform::scan(shown.trim_end_matches('/'), &tree.files, world.threads)?;
        let passed_over: Vec<String> = tree.passed_over.into_iter().filter(|path| !excluded(path)).collect();
        platform.otherwise = self.settings.default_namespace.clone();
        platform.pass_over(&passed_over);
        Ok((platform, tree.files))
    }

    /// Rendered manifests, such as `helm template` prints, as a platform of one file; `-` is standard input.
    pub fn read_manifests(&self, path: &Path, world: &mut World) -> Result<(Platform, Files)> {
        let (name, bytes) = self.read_input(path, false, world)?;
        text::decode(&bytes).map_err(|error| error.in_file(&name))?;
        let files = Files::from([("manifests.yaml".to_owned(), bytes.to_vec())]);
        let mut platform = platform::scan("", &files, world.threads)?;
        platform.otherwise = self.settings.default_namespace.clone();
        Ok((platform, files))
    }

    /// Replaces the operator's contract file, which held `before`.
    pub fn write_contract(&self, before: &str, new: &str) -> Result<()> {
        let Some(path) = self.joined.contract.value.as_deref() else {
            let help = "write a copy first: `seal-secrets contract --format yaml > contract.yaml`; then pass `--contract contract.yaml`, or name it in the settings";
            return Err(Error::usage("the built-in contract cannot be changed", help));
        };
        let shown = path.to_string_lossy();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = self.open_folder(parent(path))?.ok_or_else(|| changed_meanwhile().in_file(&shown))?;
        let _lock = folder.lock()?;
        folder.remove_leftovers_here()?;
        let mut writer = Writer::new(&folder);
        writer.replace(name, new.as_bytes(), Some(before.as_bytes()))?;
        writer.finish().map(|_| ())
    }

    /// Returns a test whether the settings exclude a path below this folder. Their patterns count from the platform's root; if that is
    /// unknown, or neither above nor below the folder, nothing is excluded.
    pub fn excluded_below(&self, folder: &Path) -> Result<impl Fn(&str) -> bool + Sync + use<>> {
        let excluded = git::Excluded::new(&self.settings.exclude)?;
        let root = self.platform_root().filter(|_| !self.settings.exclude.is_empty());
        let above = root.map_or(Ok(None), |root| self.path_in(root, folder))?;
        let inside = root.map_or(Ok(None), |root| self.path_in(folder, root))?;
        let from_root = move |path: &str| match (&above, &inside) {
            (Some(way), _) if way.is_empty() => Some(path.to_owned()),
            (Some(way), _) => Some(format!("{way}/{path}")),
            (None, Some(way)) => path.strip_prefix(way.as_str())?.strip_prefix('/').map(str::to_owned),
            (None, None) => None,
        };
        Ok(move |path: &str| from_root(path).is_some_and(|path| excluded.has(&path)))
    }

    /// A checkout's own `.gitignore`; empty if it has none.
    pub fn ignored_in(&self, root: &Path) -> Result<String> {
        let folder = Folder::open_root(&*self.disk, root)?;
        let rules = folder.map_or(Ok(None), |folder| folder.read_foreign(".gitignore"))?;
        let Some(rules) = rules.filter(|rules| !rules.is_empty()) else { return Ok(String::new()) };
        let text = text::decode(&rules).map_err(|error| error.in_file(&root.join(".gitignore").to_string_lossy()))?;
        Ok(text.to_owned())
    }

    /// The Component's files, as edits of the checkout that contains the output folder.
    pub fn component_edits(&self, root: &Path, component: Vec<(String, String)>) -> Result<Edits> {
        let Some(out) = self.out_in(root)? else {
            let help = "pass a folder inside with `--out DIR`, or copy `out/property-patches` into it";
            return Err(Error::usage("the output folder does not lie in the checkout, so nothing there can include its component", help));
        };
        let there = self.out()?.files()?;
        let mut found = Edits::default();
        for (path, after) in component {
            let before = there.get(&path).cloned();
            if before.as_ref().is_none_or(|before| difference::first(&after, before).is_some()) {
                found.edits.push(Edit { path: format!("{out}/{path}"), before, after });
            }
        }
        Ok(found)
    }

    /// Writes one edit as a whole file, if the file is still as it was read. It may be the last of a run.
    pub fn write_edit(&self, root: &Path, edit: &Edit, last: bool) -> Result<()> {
        let (parent, name) = edit.path.rsplit_once('/').unwrap_or(("", &edit.path));
        let checkout = Folder::open_root(&*self.disk, root)?.ok_or_else(|| changed_meanwhile().in_file(&root.to_string_lossy()))?;
        let folder = checkout.create_beneath(Path::new(parent), 0o755)?;
        let _lock = folder.lock()?;
        folder.remove_leftovers_here()?;
        let mut writer = Writer::new(&folder);
        writer.replace(name, edit.after.as_bytes(), edit.before.as_deref())?;
        if last { writer.finish().map(|_| ()) } else { writer.sync() }
    }

    /// The platform's store file as it is now. The platform's scripts take the project from the first line that has one.
    fn read_store_file(&self, path: &Path, project_id: Option<&str>) -> Result<StoreFile> {
        let Some(shown) = path.to_str().filter(|path| path.ends_with(".yaml") || path.ends_with(".yml")) else {
            let help = "name the file in which the platform keeps its store";
            return Err(Error::usage("`store.file` is not the name of a YAML file", help));
        };
        self.check_store_file(path).map_err(|error| error.in_file(shown))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let bytes = self.open_folder(parent(path))?.map_or(Ok(None), |folder| folder.read_foreign(name))?;
        let help = format!("{}; `seal-secrets bootstrap` then writes it", text::one_side(shown));
        let decode = |bytes: &[u8]| text::decode_or(bytes, &help).map(str::to_owned).map_err(|error| error.in_file(shown));
        let present = bytes.as_deref().map(|bytes| decode(bytes)).transpose()?;
        if present.as_ref().is_some_and(|text| !store::has_only_stores(text)) {
            let help = "name a new file at `store.file`, or the one in which the platform keeps its store";
            return Err(Error::refused("it holds something else than a store", help).in_file(shown));
        }
        let line = |text: &String| {
            let id = text.lines().find_map(|line| line.trim_start_matches(['#', ' ']).strip_prefix("projectID:"));
            id.map(|id| id.split(" #").next().unwrap_or("").trim().trim_matches(['"', '\'']).to_owned())
        };
        let id = project_id.map(str::to_owned).or_else(|| present.as_ref().and_then(line)).unwrap_or_else(|| "none".to_owned());
        let legal = !id.is_empty()
            && !id.contains("gcpsm:")
            && id.len() <= 64
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
        if !legal {
            let help = "write one at `store.project-id`: letters, digits, `-`, `_`, `.` and `:`, at most 64";
            return Err(Error::usage("the project of the store file is not one that a line can hold", help));
        }
        let from_out = self.way_from_out(path)?;
        Ok(StoreFile { path: shown.to_owned(), from_out, present: present.map(String::into_bytes), project_id: id })
    }

    /// A store never overwrites other files of this tool, and is never written through a link.
    fn check_store_file(&self, path: &Path) -> Result<()> {
        if files::stat(&*self.disk, path, Links::Keep)?.is_some_and(|stat| stat.kind == Kind::Link) {
            return Err(Error::refused("a link, and links are not followed here", "pass the file itself"));
        }
        for folder in [&self.keys, &self.out] {
            if files::relative_to(&*self.disk, path, folder)?.is_some() {
                return Err(Error::refused("the store file would lie in a folder of our own", "pass a file of the platform's"));
            }
        }
        Ok(())
    }
}
