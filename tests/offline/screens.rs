//! A person's first contact: helps that fit a screen, examples that can be typed, codes that are explained, and the formats for CI.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::common::{Sandbox, fixture, fixture_text, git, needs, usual};

/// Every command, as the long help lists them.
fn commands(sandbox: &Sandbox) -> Vec<String> {
    let help = sandbox.run(["--help"]).expect(0).stdout;
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    list.lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.trim().to_owned())
        .map(first_word)
        .collect()
}

fn first_word(line: String) -> String {
    line.split(' ').next().unwrap().to_owned()
}

/// What a command prints where the terminal has 80 columns.
fn narrow(sandbox: &Sandbox, args: &[&str]) -> String {
    let ran = sandbox.command(args).env("COLUMNS", "80").output().unwrap();
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn each_short_help_fits_a_screen_and_the_first_names_every_command() {
    let sandbox = Sandbox::empty();
    let (commands, summary) = (commands(&sandbox), narrow(&sandbox, &["-h"]));
    assert!(commands.len() > 20, "{commands:?}");
    let words: BTreeSet<&str> = summary.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    for command in &commands {
        assert!(words.contains(command.as_str()), "`-h` does not name {command}");
    }
    let helps = commands.iter().filter(|command| *command != "help").map(|command| narrow(&sandbox, &[command, "-h"]));
    for help in helps.chain([summary]) {
        let (lines, width) = (help.lines().count(), help.lines().map(|line| line.chars().count()).max().unwrap());
        assert!(lines <= 24 && width <= 80, "{lines} lines of {width} columns:\n{help}");
    }
}

#[test]
fn each_long_help_puts_the_commands_own_options_first_and_ends_with_examples_that_can_be_typed() {
    let sandbox = Sandbox::bootstrapped();
    let mut examples = 0;
    for command in commands(&sandbox).iter().filter(|command| *command != "help") {
        let help = narrow(&sandbox, &["help", command]);
        assert_eq!(help, narrow(&sandbox, &[command, "--help"]), "{command}");
        let at = |heading: &str| help.find(&format!("\n{heading}:\n"));
        let order = [at("Options"), at("Cluster").or(at("Options")), at("Folders and settings"), at("Examples"), at("Exit codes")];
        assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{command}: {order:?}\n{help}");
        for line in help.split("\nExamples:\n").nth(1).unwrap().lines().filter(|line| line.starts_with("  seal-secrets ")) {
            let typed = line.trim().trim_start_matches("seal-secrets ");
            let typed = [" > ", " < ", " | ", " && "].iter().filter_map(|end| typed.find(end)).min().map_or(typed, |end| &typed[..end]);
            let args = ["seal-secrets"].into_iter().chain(typed.split(' ')).map(|word| word.replace("age1…", "age1x").into());
            seal_secrets::places(args, &sandbox.world_at("")).unwrap_or_else(|error| panic!("{line}: {error}"));
            examples += 1;
        }
    }
    assert!(examples > 35, "{examples}");
}

#[test]
fn every_code_is_explained_from_the_documents() {
    let sandbox = Sandbox::empty();
    let mut codes = Vec::new();
    for document in ["findings", "troubleshooting", "exit-codes"] {
        let text = std::fs::read_to_string(fixture(&format!("../docs/{document}.md"))).unwrap();
        for section in text.split("\n## ").skip(1) {
            let (code, about) = section.split_once('\n').unwrap();
            let said = sandbox.run(["explain", code]).expect(0).stdout;
            assert!(said.contains(about.trim()), "{code}: {said}");
            codes.push(code.to_owned());
        }
    }
    let exits: Vec<String> = (0..10).map(|code: u8| code.to_string()).collect();
    assert!(codes.ends_with(&exits), "docs/exit-codes.md has one heading for each");
    assert!(codes.len() > 100);
    let ran = sandbox.run(["explain", "unit-mising"]).expect(2);
    assert_eq!(ran.stderr, "error: there is no such code\nhelp: did you mean `unit-missing`?\n");
    // A word more than two edits away is not suggested.
    let ran = sandbox.run(["explain", "unti-mssng-x"]).expect(2);
    assert!(!ran.stderr.contains("did you mean"), "{}", ran.stderr);
}

#[test]
fn completions_and_manual_pages_come_from_the_same_grammar() {
    let sandbox = Sandbox::empty();
    // They only print, and work on nothing: unreadable settings do not matter.
    sandbox.set("keys: [");
    let commands = commands(&sandbox);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = sandbox.run(["completions", shell]).expect(0).stdout;
        assert!(commands.iter().all(|command| text.contains(command.as_str())), "{shell}");
    }
    let page = sandbox.run(["man"]).expect(0).stdout;
    assert!(page.contains(".TH seal-secrets 1") && page.contains("seal\\-secrets\\-verify(1)"), "{page}");
    for command in commands.iter().filter(|command| *command != "help") {
        let page = sandbox.run(["man", command]).expect(0).stdout;
        assert!(page.contains(".SH OPTIONS") && page.contains("Exit codes:"), "{command}: {page}");
    }
    for change in ["list", "add-recipient", "remove-recipient"] {
        let page = sandbox.run(["man", "escrow", change]).expect(0).stdout;
        let escaped = change.replace('-', "\\-");
        assert!(page.contains(&format!(".TH seal-secrets-escrow-{change} 1")) && page.contains(".SH OPTIONS"), "{page}");
        assert!(sandbox.run(["man", "escrow"]).expect(0).stdout.contains(&format!("seal\\-secrets\\-escrow\\-{escaped}(1)")));
    }
    let ran = sandbox.run(["man", "escrow", "lst"]).expect(2);
    assert_eq!(ran.stderr, "error: unknown command\nhelp: did you mean `list`?\n");
    let ran = sandbox.run(["man", "verfy"]).expect(2);
    assert_eq!(ran.stderr, "error: unknown command\nhelp: did you mean `verify`?\n");
}

/// Four missing units, and no other fault.
fn spoiled() -> Sandbox {
    let sandbox = Sandbox::bootstrapped();
    for unit in ["litellm-master-key", "oauth2-proxy-cookie-secret", "vllm-api-key", "litellm-db-password"] {
        sandbox.remove(&format!("out/secret-source/{unit}.sealed.yaml"));
    }
    sandbox
}

#[test]
fn findings_that_are_alike_are_one_and_errors_come_last() {
    let sandbox = spoiled();
    for patch in ["dex-secrets", "litellm-secrets", "grafana-oidc", "hf-token"] {
        sandbox.write(&format!("out/property-patches/{patch}.patch.yaml"), b"[]\n");
    }
    let ran = sandbox.start(["verify"]).expect(1);
    let heads: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("error[") || line.starts_with("warning[")).collect();
    let first_error = heads.iter().position(|line| line.starts_with("error[")).unwrap();
    assert!(heads[..first_error].iter().all(|line| line.starts_with("warning[")), "{}", ran.stdout);
    assert!(heads[first_error..].iter().all(|line| line.starts_with("error[")), "{}", ran.stdout);
    let alike = heads.iter().filter(|line| line.contains("4 times, in out/property-patches/…: ")).count();
    assert_eq!(alike, 1, "{}", ran.stdout);
    let each = sandbox.run(["verify", "--verbose"]).expect(1).stdout;
    let report: Value = serde_json::from_str(&sandbox.run(["verify", "--json"]).expect(1).stdout).unwrap();
    assert_eq!(each.matches("  help: ").count(), report["findings"].as_array().unwrap().len(), "{each}");
    let quiet = sandbox.run(["verify", "-q"]).expect(1).stdout;
    assert!(!quiet.contains("warning") && quiet.lines().next_back().unwrap().starts_with("  help: "), "{quiet}");
    assert_eq!(Sandbox::bootstrapped().run(["verify", "--quiet"]).expect(0).stdout, "");
}

#[test]
fn a_warning_that_is_meant_can_be_left_out_and_an_error_cannot() {
    let sandbox = Sandbox::bootstrapped();
    let rest = usual(&[]).into_iter().filter(|one| !one.starts_with("few-recipients ")).collect::<Vec<_>>();
    sandbox.run(["verify", "--ignore", "few-recipients"]).finds(&rest);
    sandbox.set("ignore: [few-recipients]");
    sandbox.run(["bootstrap"]).expect(0);
    sandbox.run(["verify"]).finds(&rest);
    let ran = sandbox.run(["verify", "--ignore", "unit-missing"]).expect(2);
    assert!(ran.stderr.contains("`--ignore`: an error, which cannot be ignored"), "{}", ran.stderr);
    let ran = sandbox.run(["verify", "--ignore", "few-recipient"]).expect(2);
    assert!(ran.stderr.contains("did you mean `few-recipients`?"), "{}", ran.stderr);
    sandbox.set("ignore: [unit-missing]");
    let ran = sandbox.run(["verify"]).expect(3);
    assert!(ran.stderr.contains("seal-secrets.yaml:2:10: `ignore[0]` is an error"), "{}", ran.stderr);
}

#[test]
fn each_form_for_ci_says_the_same_findings() {
    let sandbox = spoiled();
    let report = |form: &str| sandbox.run(["verify", "-o", form]).expect(1).stdout;
    assert_eq!(report("json"), sandbox.run(["verify", "--json"]).expect(1).stdout);
    let json: Value = serde_json::from_str(&report("json")).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let place = |one: &Value| {
        let number = |field: &str| one[field].as_u64().map_or(String::new(), |number| format!(":{number}"));
        format!("{}{}{}", one["file"].as_str().unwrap(), number("line"), number("column"))
    };
    assert!(findings.len() > 6 && findings.iter().any(|one| one["line"].is_u64()), "{json}");
    assert!(findings.iter().all(|one| place(one) == one["place"].as_str().unwrap()), "{json}");

    let sarif: Value = serde_json::from_str(&report("sarif")).unwrap();
    let (run, text) = (&sarif["runs"][0], sarif.to_string());
    assert_eq!((&sarif["version"], &run["tool"]["driver"]["name"]), (&"2.1.0".into(), &"seal-secrets".into()));
    let results = run["results"].as_array().unwrap();
    let rules: BTreeSet<&str> =
        run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    for (one, finding) in results.iter().zip(findings) {
        let location = &one["locations"][0]["physicalLocation"];
        assert_eq!((&one["ruleId"], &one["level"]), (&finding["code"], &finding["severity"]));
        assert!(rules.contains(one["ruleId"].as_str().unwrap()), "{text}");
        assert_eq!((&location["artifactLocation"]["uri"], &location["region"]["startLine"]), (&finding["file"], &finding["line"]));
        assert_eq!(one["partialFingerprints"]["sealSecrets/v1"].as_str().unwrap().len(), 32);
    }
    let gitlab: Value = serde_json::from_str(&report("gitlab")).unwrap();
    let issues = gitlab.as_array().unwrap();
    let prints: BTreeSet<&str> = issues.iter().map(|issue| issue["fingerprint"].as_str().unwrap()).collect();
    for (issue, finding) in issues.iter().zip(findings) {
        assert_eq!((&issue["check_name"], &issue["location"]["path"]), (&finding["code"], &finding["file"]));
        assert!(["critical", "minor"].contains(&issue["severity"].as_str().unwrap()) && issue["location"]["lines"]["begin"].is_u64());
    }
    let github = report("github");
    for (line, finding) in github.lines().zip(findings) {
        let begin = format!("::{} file={}", finding["severity"].as_str().unwrap(), finding["file"].as_str().unwrap());
        assert!(line.starts_with(&begin) && line.contains(&format!(",title={}::", finding["code"].as_str().unwrap())), "{line}");
    }
    let junit = report("junit");
    let errors = findings.iter().filter(|one| one["severity"] == "error").count();
    assert_eq!((junit.matches("<testcase ").count(), junit.matches("<failure ").count()), (findings.len(), errors), "{junit}");
    assert!(junit.contains(&format!("tests=\"{}\" failures=\"{errors}\"", findings.len())), "{junit}");
    let counts = (results.len(), issues.len(), prints.len(), github.lines().count());
    assert_eq!(counts, (findings.len(), findings.len(), findings.len(), findings.len()));
}

#[test]
fn what_a_file_is_called_breaks_no_form() {
    let sandbox = Sandbox::bootstrapped();
    sandbox.write("out/secret-source/a<b>&\"%,:\u{e9}.sealed.yaml", fixture_text("fixtures/contracts/small.yaml").as_bytes());
    let report = |form: &str| sandbox.run(["verify", "-o", form]).expect(1).stdout;
    assert!(report("junit").contains("a&lt;b&gt;&amp;&quot;%"), "{}", report("junit"));
    assert!(report("github").contains("a<b>&\"%25%2C%3A\u{e9}.sealed.yaml"), "{}", report("github"));
    assert!(report("sarif").contains("a%3Cb%3E%26%22%25%2C%3A%C3%A9.sealed.yaml"), "{}", report("sarif"));
}

/// Each step of the examples for CI, where everything is well, and where it is not.
#[test]
fn the_steps_of_the_examples_for_ci_run() {
    let text = std::fs::read_to_string(fixture("../docs/ci.md")).unwrap();
    let blocks = text.split("\n```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let blocks: Vec<Value> = blocks.map(|block| serde_yaml::from_str(block).unwrap()).collect();
    let hooks: Value = serde_yaml::from_str(&std::fs::read_to_string(fixture("../.pre-commit-hooks.yaml")).unwrap()).unwrap();
    assert_eq!(blocks[3]["repos"][0]["hooks"][0]["id"], hooks[0]["id"]);
    let runs = |steps: &Value| -> Vec<String> {
        steps.as_array().unwrap().iter().filter_map(|step| step["run"].as_str().or(step.as_str()).map(str::to_owned)).collect()
    };
    let own = text.split("\n```sh\n").nth(1).unwrap().split("\n```").next().unwrap().to_owned();
    let [actions, sarif] = [&blocks[0]["jobs"]["verify"]["steps"], &blocks[1]["steps"]].map(runs);
    let gitlab = runs(&blocks[2]["seal-secrets"]["script"]);
    let steps = [actions, sarif, gitlab, vec![own, hooks[0]["entry"].as_str().unwrap().to_owned()]].concat();
    assert_eq!(steps.len(), 8);
    needs!("git");
    let (good, bad) = (Sandbox::usual(), spoiled());
    for sandbox in [&good, &bad] {
        git(sandbox, &["init", "-q", "."]);
        sandbox.write("keys/.gitignore", b"*.agekey\n");
    }
    for step in &steps {
        let run = |sandbox: &Sandbox| sandbox.shell(step);
        assert!(run(&good) == 0 && run(&bad) != 0, "{step}");
    }
    // The files for the upload are what the step says.
    for (file, begin) in [("seal-secrets.sarif", "{"), ("gl-code-quality-report.json", "["), ("junit.xml", "<?xml")] {
        assert!(bad.read(file).starts_with(begin), "{file}");
    }
}
