//! What follows the options in each help: examples, which a test runs through the parser, and exit codes.

/// The meaning of the exit codes, in order; docs/exit-codes.md says more about each.
pub const EXIT_CODES: [(u8, &str); 10] = [
    (0, "done, and nothing found"),
    (1, "found what it looked for: a fault, a difference, a value that does not open"),
    (2, "the command line is wrong"),
    (3, "an input is wrong"),
    (4, "refused, because it would do harm"),
    (5, "a file cannot be read or written"),
    (6, "a value cannot be opened, or there is no randomness"),
    (7, "the cluster cannot be reached, or says no"),
    (8, "another run is at work, or a file changed meanwhile"),
    (9, "written, but the disk did not confirm it"),
];

/// `seal-secrets -h`: every command on one screen.
pub const SUMMARY: &str = "\
Makes, seals and keeps the secrets of an LLM platform, offline, before any
cluster exists.

Usage: seal-secrets [OPTIONS] COMMAND

  Begin       init          settings for a checkout of the platform
              keygen        the sealing key
              bootstrap     every value that is missing; plan shows it first
  Check       verify        offline: does everything agree?
              status        which key seals what
              doctor        where in a live cluster does a value stop?
  Values      import, copy, rotate, unseal
  Keys        renew, re-encrypt, escrow, key-secret, backup, fetch-cert
  Platform    contract, patch, export, git-setup, textconv
  More        help, explain, completions, man

  seal-secrets keygen && seal-secrets bootstrap    makes all that is needed
  seal-secrets help COMMAND                        options, examples, exit codes
  seal-secrets --help                              all commands and options
";

type Examples = &'static [(&'static str, &'static str)];

/// Each command's examples: the arguments after `seal-secrets`, and what they do.
pub const EXAMPLES: &[(&str, Examples)] = &[
    (
        "",
        &[
            ("keygen && seal-secrets bootstrap", "make the sealing key, then every secret"),
            ("verify", "check that everything in out/ agrees"),
        ],
    ),
    ("init", &[("init --platform .", "write seal-secrets.yaml for this checkout")]),
    ("keygen", &[("keygen", "a new identity opens the escrow"), ("keygen --recipient age1… --recipient age1…", "two operators open it")]),
    (
        "bootstrap",
        &[
            ("bootstrap --dry-run", "show what would be made"),
            ("bootstrap --provide hf-token", "type a value that only you have"),
            ("bootstrap --provide hf-token=-", "take it from standard input"),
        ],
    ),
    ("plan", &[("plan --check", "exit with 1 if there is something to do, as in CI")]),
    (
        "import",
        &[
            ("import --env-file old.env --dry-run", "show what would be sealed"),
            ("import -f secrets.yaml", "from Secrets in YAML, such as of `kubectl get -o yaml`"),
        ],
    ),
    ("copy", &[("copy --from berlin --to paris", "the same values for another cluster")]),
    (
        "rotate",
        &[
            ("rotate vllm-api-key", "a new value, and what to restart"),
            ("rotate --older-than 90d --dry-run", "show which keys are old"),
            ("rotate --provide hf-token", "replace a value that only you have"),
        ],
    ),
    ("verify", &[("verify", "as in CI: no network, no key"), ("verify --drill", "try the whole recovery, and print a report")]),
    ("re-encrypt", &[("re-encrypt", "what is sealed to an old key"), ("re-encrypt apps --dry-run", "other people's SealedSecrets too")]),
    ("renew", &[("renew --dry-run", "show what would be sealed again"), ("renew", "a new sealing key; the old one stays in the escrow")]),
    ("status", &[("status", "which key seals what"), ("status apps --identity keys/operator.agekey", "which keys are still needed")]),
    (
        "unseal",
        &[
            ("unseal > secrets.yaml", "every Secret, to recover without the controller"),
            ("unseal --value dex-admin-password --reveal", "one value, on the terminal"),
        ],
    ),
    ("escrow", &[("escrow list", "who can open the escrow"), ("escrow add-recipient age1…", "let one more open it")]),
    ("key-secret", &[("key-secret --apply --context admin@new", "give the key to a new cluster, before its controller starts")]),
    (
        "patch",
        &[
            ("patch", "show the changes as a diff"),
            ("patch --write", "make them"),
            ("patch - < rendered.yaml", "as a helm post-renderer"),
            ("patch --rename prod/db=prod-db --write", "a name that a Secret can have"),
        ],
    ),
    ("export", &[("export --push-secrets hosted > push.yaml", "copy every value into the store `hosted`")]),
    ("git-setup", &[("git-setup", "show what it would write"), ("git-setup --write", "write it; then `git diff` shows no ciphertext")]),
    ("textconv", &[("textconv out/secret-source/vllm-api-key.sealed.yaml", "each sealed value in a few words")]),
    ("backup", &[("backup --context admin@platform", "add the controller's keys to the escrow")]),
    (
        "fetch-cert",
        &[
            ("fetch-cert --context admin@platform", "of a running controller"),
            ("fetch-cert --file sealing.crt", "of a file that you trust"),
        ],
    ),
    (
        "doctor",
        &[
            ("doctor --context admin@platform", "where does a value stop, and why"),
            ("doctor --context admin@platform --wait 5m", "wait until each has arrived"),
            ("doctor --context admin@platform -o mermaid", "a picture that marks what is broken"),
            ("doctor --print-rbac=doctor", "the rights that it needs"),
        ],
    ),
    (
        "contract",
        &[
            ("contract", "which keys, and who reads them"),
            ("contract --from-platform . > contract.yaml", "draft one from a checkout"),
            ("contract add grafana --value password=alphanumeric", "one more Secret in it"),
        ],
    ),
    ("explain", &[("explain unit-missing", "a finding"), ("explain 4", "an exit code")]),
    ("completions", &[("completions bash > /etc/bash_completion.d/seal-secrets", "for bash")]),
    ("man", &[("man | man -l -", "read the manual page"), ("man verify > seal-secrets-verify.1", "write one")]),
];

/// The same commands, with examples and exit codes after their options.
pub fn with_examples(command: clap::Command) -> clap::Command {
    let command =
        command.after_help("`seal-secrets help COMMAND` shows every option of a command, with examples.").after_long_help(below(""));
    EXAMPLES.iter().filter(|(name, _)| !name.is_empty()).fold(command, |command, (name, _)| match command.find_subcommand(name) {
        Some(_) => command.mut_subcommand(name, |one| {
            one.after_help(format!("`seal-secrets help {name}` shows the other options, examples, and exit codes."))
                .after_long_help(below(name))
        }),
        // Built without its feature.
        None => command,
    })
}

fn below(name: &str) -> String {
    let examples = EXAMPLES.iter().filter(|(command, _)| *command == name).flat_map(|(_, examples)| examples.iter());
    let examples: String = examples.map(|(args, what)| format!("  seal-secrets {args}\n      {what}\n")).collect();
    let codes: String = EXIT_CODES.iter().map(|(code, what)| format!("  {code}  {what}\n")).collect();
    format!("Examples:\n{examples}\nExit codes:\n{codes}")
}
