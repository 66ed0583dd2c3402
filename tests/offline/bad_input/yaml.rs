//! Y: YAML, contracts, SealedSecrets and key Secrets.

use super::*;

/// Y01 to Y15: what YAML parsers disagree on, and what crashes them.
fn yaml_that_is_not_taken() -> Vec<Row> {
    let blob = "    value: Ag";
    let bomb = format!("a0: &a0 [{}]\n", ["x"; 9].join(", "))
        + &(1..12).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "))).collect::<String>();
    let deep = |unit: &str| unit.repeat(20_000);
    let contract = |id, what: &str, bytes: String, says: &[&str]| row(id, what, &WITH_CONTRACT, 3, says).file("contract.yaml", bytes);
    let mut rows = vec![
        contract_row("Y01", "tab", ("    about: signs", "\tabout: signs"), 3, &["contract.yaml:20:", "tab", "spaces"]),
        sealed_row("Y01", "tab", ("  name: cart", "\tname: cart"), 3, &["sealed.yaml:4:", "tab", "spaces"]),
        contract_row(
            "Y02",
            "store",
            ("namespace: shop", "store: x\nnamespace: shop"),
            3,
            &["contract.yaml:4:1: ", "a field appears twice", "line 3"],
        ),
        sealed_row("Y02", "kind", ("kind:", "kind: SealedSecret\nkind:"), 3, &["sealed.yaml:3:1: ", "a field appears twice", "line 2"]),
        sealed_row(
            "Y03",
            "blob",
            (blob, "    value: AgAA{canary}\n    value: Ag"),
            3,
            &["sealed.yaml:9:5: ", "a field appears twice", "line 8"],
        ),
        sealed_row(
            "Y03",
            "quoted",
            (blob, "    \"value\": AgAA\n    value: Ag"),
            3,
            &["sealed.yaml:9:5: ", "a field appears twice", "line 8"],
        ),
        key_secret_row(
            "Y03",
            "tls.key",
            ("  tls.key: ", "  tls.key: {canary}\n  tls.key: "),
            3,
            &["key:5:3: ", "a field appears twice", "line 4"],
        ),
        row("Y08", "two contracts", &WITH_CONTRACT, 3, &["contract.yaml:31:1: ", "2 documents where one"])
            .file("contract.yaml", format!("{}---\nversion: 1\n", fixture_text("fixtures/contracts/small.yaml"))),
        contract("Y10", "alias bomb", bomb.clone(), &["contract.yaml:1:9: ", "anchors", "not supported"]),
        row("Y10", "alias bomb", RECOVER_OURS, 3, &["sealed.yaml:1:9: ", "anchors"]).file(OURS, bomb).file("key", good_key()),
        contract_row("Y12", "undefined alias", (SESSIONS, "about: *nothing"), 3, &["contract.yaml:20:12: ", "alias"]),
        contract_row("Y13", "merge key", (SESSIONS, "<<: { about: x }"), 3, &["contract.yaml:20:5: ", "not supported"]),
        contract_row("Y14", "!!binary", (SESSIONS, "about: !!binary {canary}"), 3, &["contract.yaml:20:", "not supported"]),
        contract_row("Y14", "!custom", (SESSIONS, "about: !vault {canary}"), 3, &["contract.yaml:20:", "not supported"]),
        sealed_row("Y14", "!!binary", (blob, "    value: !!binary Ag"), 3, &["sealed.yaml:8:", "not supported"]),
        contract_row("Y14", "on a list", ("keys:\n", "keys: !list\n"), 3, &["contract.yaml:", "not supported"]),
        contract_row("Y15", "a list", (SESSIONS, "? [{canary}]\n    : b"), 3, &["contract.yaml:20:7: ", "not text"]),
        contract_row("Y15", "a mapping", (SESSIONS, "? {a: {canary}}\n    : b"), 3, &["contract.yaml:20:7: ", "not text"]),
        sealed_row("Y15", "a number", (blob, "    12: Ag"), 3, &["sealed.yaml:8:5: ", "not text"]),
    ];
    for key in ["1", "true", "~", "2026-11-23", "0x1F", "1.5"] {
        rows.push(contract_row("Y15", key, (SESSIONS, &format!("{key}: b")), 3, &["contract.yaml:20:5: ", "not text"]));
    }
    for (what, unit) in [("[", "["), ("{", "{a: "), ("-", "- "), ("?", "? ")] {
        let (text, unit_length) = (deep(unit), unit.len());
        rows.push(contract("Y11", what, text.clone(), &["contract.yaml:1:", "64 levels"]));
        rows.push(row("Y11", what, RECOVER, 3, &["sealed.yaml:1:", "64 levels"]).file("sealed.yaml", text.clone()).file("key", good_key()));
        rows.push(key_row("Y11", "good-pkcs8.pem", 3, &["key:1:", "64 levels"]).file("key", text.clone()).named(what));
        let unit = unit_row("Y11", "unit", 3, &["64 levels"]).file(UNIT, text.clone());
        rows.push(unit);
        // `verify` also looks for Secrets in the clear, in every other file.
        let stray = row("Y11", "stray file", &["verify"], 1, &["out/stray.yaml:1:", "64 levels"]).start(Start::Bootstrapped);
        rows.push(
            stray
                .file("out/stray.yaml", text)
                .finds(&["stray-file out/stray.yaml", &format!("unreadable out/stray.yaml:1:{}", 64 * unit_length + 1)]),
        );
    }
    for literal in ["012", "1e10", "yes", "~", "0x1F", "1_000", "2026-11-23", "null", "1.5", "0o17", "12:30:45", ".inf", "off", "-1"] {
        let about = format!("about: {literal}");
        rows.push(contract_row("Y07", literal, (SESSIONS, &about), 3, &["contract.yaml:20:12: ", "keys[3].about", "quote it"]));
        let kind = format!("type: {literal}");
        rows.push(sealed_row("Y07", literal, ("type: Opaque", &kind), 3, &["sealed.yaml:13:11: ", "spec.template.type", "quote it"]));
        let label = format!("metadata:\n  annotations: {{ a: {literal} }}");
        rows.push(sealed_row("Y07", literal, ("metadata:", &label), 3, &["sealed.yaml:4:21: ", "metadata.annotations.a", "quote it"]));
    }
    rows
}

/// Y04 to Y06, Y23 to Y25 and Y30 to Y35: a contract that does not say what is meant.
fn contracts_that_are_wrong() -> Vec<Row> {
    let session_name = "name: session-key";
    let recipe = |id, what: &str, recipe: &str, says: &[&str]| {
        contract_row(id, what, (SESSION_RECIPE, recipe), 3, &[&["contract.yaml:21:"][..], says].concat())
    };
    let typo = |what: &'static str, (from, to): Edit<'_>, says: &[&str]| contract_row("Y04", what, (from, to), 3, says);
    let mut rows = vec![
        recipe("Y04", "lenght", "{ alphanumeric: { lenght: 40 } }", &["lenght", "did you mean `length`?"]),
        recipe("Y04", "alfanumeric", "{ alfanumeric: { length: 40 } }", &["did you mean `alphanumeric`?"]),
        recipe("Y04", "one field too many", "{ alphanumeric: { length: 40, bytes: 3 } }", &["recipe.alphanumeric.bytes"]),
        typo(
            "write-onec",
            ("write-once: true", "write-onec: true"),
            &["contract.yaml:10:17: ", "keys[0].write-onec", "did you mean `write-once`?"],
        ),
        typo("abuot", ("    about: signs", "    abuot: signs"), &["contract.yaml:20:", "did you mean `about`?"]),
        typo("consumer", ("consumers:", "consumer:"), &["contract.yaml:", "did you mean `consumers`?"]),
        typo("a consumer's key", ("key: session-key }", "key: sesion-key }"), &["contract.yaml:29:", "did you mean `session-key`?"]),
        typo("a hash's source", ("of: admin-password", "of: admin-pasword"), &["contract.yaml:16:", "did you mean `admin-password`?"]),
        contract_row("Y05", "about", ("    about: signs sessions\n", ""), 3, &["contract.yaml:19:5: ", "`keys[3].about` is missing"]),
        contract_row("Y05", "reader.namespace", (", namespace: eso", ""), 3, &["contract.yaml:5:9: ", "`reader.namespace` is missing"]),
        contract_row("Y05", "store", ("store: shop-store\n", ""), 3, &["contract.yaml:2:1: ", "`store` is missing"]),
        contract_row("Y05", "version", ("version: 1\n", ""), 3, &["contract.yaml:2:1: ", "`version` is missing"]),
        contract_row("Y05", "target", ("    target: shop\n", ""), 3, &["contract.yaml:23:5: ", "`consumers[0].target` is missing"]),
        recipe("Y05", "length", "{ alphanumeric: {} }", &["`keys[3].recipe.alphanumeric.length` is missing"]),
        recipe("Y06", "recipe", "{canary}", &["contract.yaml:21:13: ", "`keys[3].recipe` should be a mapping"]),
        recipe("Y06", "recipe body", "{ alphanumeric: {canary} }", &["should be a mapping"]),
        recipe("Y06", "length", "{ alphanumeric: { length: {canary} } }", &["contract.yaml:21:39: ", "whole number"]),
        recipe("Y06", "length in quotes", "{ alphanumeric: { length: \"40\" } }", &["contract.yaml:21:39: ", "whole number"]),
        contract_row("Y06", "about", (SESSIONS, "about: [{canary}]"), 3, &["contract.yaml:20:12: ", "`keys[3].about` should be text"]),
        contract_row("Y06", "write-once", ("once: true", "once: {canary}"), 3, &["contract.yaml:10:17: ", "should be `true` or `false`"]),
        contract_row("Y06", "write-once: yes", ("once: true", "once: yes"), 3, &["contract.yaml:10:17: ", "should be `true` or `false`"]),
        contract_row("Y06", "keys", ("keys:\n", "keys: {canary}\nrest:\n"), 3, &["contract.yaml:6:7: ", "`keys` should be a list"]),
        contract_row(
            "Y06",
            "ignored",
            ("keys:\n", "ignored: {canary}\nkeys:\n"),
            3,
            &["contract.yaml:6:10: ", "`ignored` should be a list"],
        ),
        row("Y06", "a list", &WITH_CONTRACT, 3, &["contract.yaml:1:1: ", "mapping"]).file("contract.yaml", planted("- {canary}\n")),
        row("Y06", "a word", &WITH_CONTRACT, 3, &["contract.yaml:1:1: ", "mapping"]).file("contract.yaml", planted("{canary}\n")),
        contract_row("Y40", "version 3", ("version: 1", "version: 3"), 3, &["contract.yaml:2:10: ", "version"]),
        contract_row("Y40", "keys of version 1", ("version: 1", "version: 2"), 3, &["contract.yaml:", "`keys`", "`secrets`"]),
        contract_row("Y30", "key twice", (session_name, "name: cart-salt"), 3, &["contract.yaml:19:5: ", "`cart-salt`", "line 7"]),
        contract_row(
            "Y30",
            "one file for two",
            (SESSIONS, "about: x\n    unit: admin"),
            3,
            &["contract.yaml:19:", "session-key", "admin-password"],
        ),
        contract_row("Y30", "unit of a key's name", (SESSIONS, "about: x\n    unit: cart-salt"), 3, &["contract.yaml:", "cart-salt"]),
        contract_row(
            "Y30",
            "consumer twice",
            ("consumers:\n", CONSUMER_TWICE),
            3,
            &["contract.yaml:24:5: ", "ExternalSecret `shop`", "line 23"],
        ),
        // A name may contain dots: each of the three still has its own patch file.
        contract_row("Y30", "names that could share a patch file", ("consumers:\n", PATCH_TWICE), 0, &["done: "]).after(|s| {
            ["shop_web", "other_web", "shop.web"].iter().all(|name| s.path(&format!("out/property-patches/{name}.patch.yaml")).exists())
        }),
        recipe("Y33", "alphanumeric 21", "{ alphanumeric: { length: 21 } }", &["125 bits", "128"]),
        recipe("Y33", "hex 15", "{ hex: { bytes: 15 } }", &["120 bits", "128"]),
        recipe("Y33", "base64url 15", "{ base64url: { bytes: 15 } }", &["120 bits", "128"]),
        recipe("Y32", "prefix not ASCII", "{ hex: { bytes: 32, prefix: ü } }", &["prefix"]),
        recipe("Y32", "prefix with a line feed", "{ hex: { bytes: 32, prefix: \"a\\nb\" } }", &["prefix"]),
        contract_row("Y35", "hash of itself", (SESSION_RECIPE, "{ bcrypt: { of: session-key, cost: 10 } }"), 3, &["contract.yaml:19:5: "]),
        contract_row(
            "Y35",
            "72 bytes",
            ("{ base64url: { bytes: 24 } }", "{ hex: { bytes: 36 } }"),
            3,
            &["contract.yaml:16:5: ", "71 bytes"],
        ),
        contract_row(
            "Y35",
            "provided",
            ("{ base64url: { bytes: 24 } }", "{ provided: {} }"),
            3,
            &["contract.yaml:16:5: ", "not generated"],
        ),
        recipe("Y05", "no recipe", "{}", &["exactly one field"]),
        recipe("Y05", "two recipes", "{ hex: { bytes: 16 }, provided: {} }", &["exactly one field"]),
        recipe("Y06", "broken pattern", "{ provided: { pattern: \"{canary}(\" } }", &["regular expression"]),
        recipe("Y06", "pattern too large", "{ provided: { pattern: \"((a{1000}){1000}){1000}\" } }", &["regular expression"]),
    ];
    for length in ["0", "-1", "1000000000", "99999999999999999999", "1e9", "0x20", "12.5", "040"] {
        for (recipe_of, most) in
            [(format!("{{ alphanumeric: {{ length: {length} }} }}"), "1024"), (format!("{{ hex: {{ bytes: {length} }} }}"), "512")]
        {
            rows.push(recipe("Y32", &recipe_of, &recipe_of, &["whole number from 1 to", most]));
        }
    }
    for cost in ["3", "32", "9", "17", "\"12.5\"", "\"10\"", "12.5"] {
        let says = ["contract.yaml:18:51: ", "from 10 to 16"];
        rows.push(contract_row("Y34", cost, ("cost: 10", &format!("cost: {cost}")), 3, &says));
    }
    let high = contract_row("Y34", "16", ("cost: 10", "cost: 16"), 0, &["warning: ", "admin-hash"]);
    rows.push(Row { args: ["contract", "--contract", "contract.yaml"].map(str::to_owned).into(), ..high });
    rows
}

const CONSUMER_TWICE: &str = "consumers:\n  - { namespace: shop, name: shop, target: a, data: [{ secretKey: a, key: cart-salt }] }\n  - namespace: shop\n    name: shop\n    target: b\n    data: [{ secretKey: b, key: cart-salt }]\n";
const PATCH_TWICE: &str = "consumers:
  - { namespace: shop, name: web, target: a, data: [{ secretKey: a, key: cart-salt }] }
  - { namespace: other, name: web, target: a, data: [{ secretKey: b, key: cart-salt }] }
  - { namespace: third, name: shop.web, target: a, data: [{ secretKey: c, key: cart-salt }] }
";

/// Y23 to Y25: names that Kubernetes does not accept.
fn names_that_are_wrong() -> Vec<Row> {
    let long = |length| "n".repeat(length);
    let mut rows = Vec::new();
    for name in ["Session", "a_b", "a/b", "session-", "-session", "../x", "a..b", "\"\"", "ü", "\"a b\"", &long(254)] {
        let says = ["contract.yaml:19:11: ", "`keys[3].name` is not a DNS-1123 name", "lower-case"];
        rows.push(contract_row("Y23", name, ("name: session-key", &format!("name: {name}")), 3, &says));
        let says = ["contract.yaml:14:11: ", "`keys[1].unit` is not a DNS-1123 name"];
        rows.push(contract_row("Y23", name, ("unit: admin", &format!("unit: {name}")), 3, &says));
        let says = ["sealed.yaml:4:9: ", "`metadata.name` is not a DNS-1123 name"];
        rows.push(sealed_row("Y23", name, ("name: cart", &format!("name: {name}")), 3, &says));
    }
    for name in ["Shop", "a.b", "a_b", "\"\"", "-a", &long(64)] {
        let says = ["contract.yaml:4:12: ", "`namespace` is not a DNS-1123 label"];
        rows.push(contract_row("Y24", name, ("namespace: shop-secrets", &format!("namespace: {name}")), 3, &says));
        let says = ["sealed.yaml:5:14: ", "`metadata.namespace` is not a DNS-1123 label"];
        rows.push(sealed_row("Y24", name, ("namespace: shop", &format!("namespace: {name}")), 3, &says));
    }
    let says = ["sealed.yaml:4:3: ", "`metadata.namespace` is missing", "strict"];
    rows.push(sealed_row("Y24", "missing in strict scope", ("  namespace: shop\n", ""), 3, &says));
    for key in ["\"\"", "a/b", "..", ".", "..a", "\"a b\"", &long(254)] {
        let says = ["contract.yaml:29:22: ", "secretKey` is not a valid data key"];
        rows.push(contract_row("Y25", key, ("secretKey: session", &format!("secretKey: {key}")), 3, &says));
        rows.push(sealed_row("Y25", key, ("    value: ", &format!("    {key}: ")), 3, &["sealed.yaml:8:", "is not a valid data key"]));
    }
    rows
}

/// Y18 to Y22 and Y26 to Y30: SealedSecrets and key Secrets that are not what they should be.
fn manifests_that_are_wrong() -> Vec<Row> {
    let annotate = "metadata:\n  annotations: ";
    let wide = |name: &str| format!("sealedsecrets.bitnami.com/{name}-wide: \"true\"");
    let (namespace_wide, cluster_wide) = (wide("namespace"), wide("cluster"));
    let template = |of: &str| format!("  template:\n    metadata:\n      annotations: {{ {of} }}");
    let kinds = ["sealed.yaml:1:1: ", "SealedSecret", "bitnami.com/v1alpha1"];
    let list = "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: bitnami.com/v1alpha1\n    kind: SealedSecret\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: cart, namespace: shop }\nstringData: { value: {canary} }\n";
    let whole =
        |id, what: &str, text: &str, says: &[&str]| row(id, what, RECOVER_OURS, 3, says).file(OURS, planted(text)).file("key", good_key());
    let key = |id, what: &str, text: &str, says: &[&str]| {
        row(id, what, RECOVER, 3, says).file("sealed.yaml", fixture_text(SEALED)).file("key", planted(text))
    };
    let contradict = ["sealed.yaml:1:1: ", "contradict"];
    let blob = "    value: Ag";
    vec![
        sealed_row("Y18", "apiVersion", ("bitnami.com/v1alpha1", "bitnami.com/v1"), 3, &kinds),
        sealed_row("Y18", "kind", ("kind: SealedSecret", "kind: SealedSecrets"), 3, &kinds),
        sealed_row("Y18", "no kind", ("kind: SealedSecret\n", ""), 3, &kinds),
        whole("Y18", "a List", list, &kinds),
        whole("Y18", "a Secret in the clear", secret, &kinds),
        key_row("Y18", "configmap.yaml", 3, &["no private key"]),
        key("Y18", "a Secret without data, unnamed", "a: {canary}\n", &["key: no private key"]),
        key_row("Y19", "secret-bad-base64.yaml", 3, &["key:4:12: ", "`data[tls.key]`: not base64"]),
        key_row("Y19", "secret-tls-key-not-pem.yaml", 3, &["key:", "private key"]),
        key("Y19", "url-safe", &key_secret("data: { tls.key: '-_-_{canary}' }"), &["key:5:18: ", "`data[tls.key]`: not base64"]),
        key("Y19", "padding", &key_secret("data: { tls.key: '{canary}YQ' }"), &["key:5:18: ", "`data[tls.key]`: not base64"]),
        sealed_row(
            "Y21",
            "no encryptedData",
            ("  encryptedData:\n    value: ", "  other:\n    value: "),
            3,
            &["sealed.yaml:", "spec.encryptedData"],
        ),
        whole("Y21", "empty", &empty_data("{}"), &["sealed.yaml:4:24: ", "`spec.encryptedData` is empty"]),
        whole("Y21", "null", &empty_data("~"), &["sealed.yaml:4:24: ", "spec.encryptedData"]),
        key("Y21", "no data", &key_secret("immutable: true"), &["key:1:1: ", "no private key"]),
        sealed_row("Y26", "both", ("metadata:", &format!("{annotate}{{ {namespace_wide}, {cluster_wide} }}")), 4, &contradict),
        sealed_row("Y26", "wider template", ("  template:\n    metadata:", &template(&cluster_wide)), 4, &contradict),
        sealed_row("Y26", "other template", ("  template:\n    metadata:", &template(&cluster_wide)), 4, &contradict).edit(
            OURS,
            "metadata:",
            &format!("{annotate}{{ {namespace_wide} }}"),
        ),
        unit_row("Y26", "unit", 4, &["contradict"]).edit(
            UNIT,
            "  annotations:",
            &format!("  annotations:\n    {namespace_wide}\n    {cluster_wide}"),
        ),
        sealed_row(
            "Y27",
            "a word",
            (blob, "    plain: {canary}\n    value: Ag"),
            4,
            &["sealed.yaml:8:12: ", "`spec.encryptedData.plain`", "`AgA`"],
        ),
        sealed_row(
            "Y27",
            "base64",
            (blob, &format!("    plain: {}\n    value: Ag", BASE64_STANDARD.encode(CANARY))),
            4,
            &["sealed.yaml:8:12: "],
        ),
        sealed_row("Y27", "a block", (blob, "    plain: |\n      {canary}\n      {canary}\n    value: Ag"), 4, &["sealed.yaml:9:7: "]),
        sealed_row("Y27", "short", (blob, "    plain: A\n    value: Ag"), 4, &["sealed.yaml:8:12: "]),
        sealed_row("Y27", "empty", (blob, "    plain: ''\n    value: Ag"), 4, &["sealed.yaml:8:12: "]),
        unit_row("Y27", "unit", 4, &["spec.encryptedData.plain"]).edit(UNIT, "    value: ", "    plain: {canary}\n    value: "),
        sealed_row(
            "Y28",
            "spec.data",
            ("  encryptedData:", "  data: {canary}\n  encryptedData:"),
            3,
            &["sealed.yaml:7:9: ", "`spec.data`"],
        ),
        sealed_row("Y28", "only spec.data", ("  encryptedData:\n    value:", "  data:"), 3, &["sealed.yaml:7:9: ", "`spec.data`"]),
        sealed_row(
            "Y04",
            "spec.template.dtaa",
            ("    type:", "    dtaa: {canary}\n    type:"),
            3,
            &["sealed.yaml:13:11: ", "did you mean `data`?"],
        ),
        whole("Y30", "the same twice", &format!("{0}---\n{0}", fixture_text(SEALED)), &["sealed.yaml:15:1: ", "`cart`", "line 1"]),
    ]
}

/// A key Secret with this instead of its data.
fn key_secret(data: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: k }}\ntype: kubernetes.io/tls\n{data}\n")
}

fn empty_data(data: &str) -> String {
    format!(
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {{ name: a, namespace: b }}\nspec: {{ encryptedData: {data} }}\n"
    )
}

/// Y29 and Y30: so much input that it could break a parser.
fn too_much() -> Vec<Row> {
    let given = ["bootstrap", "--provide", "hf-token=given"];
    let with_key = |row: Row| row.file("key", good_key());
    let object = |size: usize| {
        fixture_text(SEALED).replace("    value: Ag", &format!("    large: AgAA{}\n    value: Ag", "A".repeat(size))).into_bytes()
    };
    let many = |count: usize, last: &str| -> Vec<u8> {
        let one = |name: &str| {
            format!(
                "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {{name: {name}, namespace: ns}}\nspec: {{encryptedData: {{v: AgAA}}}}\n"
            )
        };
        let all: String = (0..count).map(|i| one(&format!("a{i}"))).collect();
        (all + &one(last)).into_bytes()
    };
    vec![
        row("Y29", "value", &given, 3, &["`hf-token`", "512 KiB"]).file("given", [b"hf_", CANARY.repeat(30_000).as_bytes()].concat()),
        row("Y29", "value on standard input", &["bootstrap", "--provide", "hf-token=-"], 3, &["512 KiB"])
            .stdin(&[b"hf_", CANARY.repeat(30_000).as_bytes()].concat()),
        // Kubernetes allows 1 MiB per request. An object in etcd, which may have to be recovered, may be half as large again.
        with_key(row("Y29", "an object of 1.6 MiB", RECOVER_OURS, 3, &["sealed.yaml:", "1.5 MiB"])).file(OURS, object(1_700_000)),
        with_key(row("Y29", "a file of 17 MiB", RECOVER, 3, &["sealed.yaml: ", "16 MiB"])).file("sealed.yaml", object(17 << 20)),
        row("Y29", "contract of 17 MiB", &WITH_CONTRACT, 3, &["contract.yaml: ", "16 MiB"]).file("contract.yaml", vec![b'#'; 17 << 20]),
        with_key(
            row("Y30", "100,000 documents, the last one again", RECOVER_OURS, 3, &["sealed.yaml:", "`a7`"]).file(OURS, many(100_000, "a7")),
        ),
    ]
}

/// Y36 to Y40: what is sealed already, and later changes to it.
fn states_that_are_wrong() -> Vec<Row> {
    let small = |id, what: &str, code, says: &[&str]| row(id, what, &WITH_CONTRACT, code, says).start(Start::Small);
    let dropped = |what: &str| small("Y36", what, 4, &["out/secret-source/cart-salt.sealed.yaml:", "`cart-salt`"]);
    let entry = "  - name: cart-salt\n    about: encrypts the carts\n    recipe: { hex: { bytes: 16 } }\n    write-once: true\n";
    let removed =
        || dropped("removed").edit("contract.yaml", entry, "").edit("contract.yaml", "      - { secretKey: salt, key: cart-salt }\n", "");
    let with_args = |row: Row, args: &[&str]| Row { args: args.iter().map(|&arg| arg.to_owned()).collect(), ..row };
    let mut rows = vec![
        removed(),
        with_args(removed(), &["plan", "--contract", "contract.yaml"]).named("removed, plan"),
        with_args(removed(), &["bootstrap", "--dry-run", "--contract", "contract.yaml"]).named("removed, dry run"),
        with_args(dropped("another contract"), &["bootstrap"]),
        dropped("renamed").edit("contract.yaml", "name: cart-salt", "name: cart-pepper").edit(
            "contract.yaml",
            "key: cart-salt",
            "key: cart-pepper",
        ),
        dropped("no longer write-once").edit("contract.yaml", "    write-once: true\n", ""),
        dropped("write-once: false").edit("contract.yaml", "write-once: true", "write-once: false"),
        dropped("other recipe").edit("contract.yaml", "hex: { bytes: 16 }", "hex: { bytes: 32 }"),
        dropped("other kind of recipe").edit("contract.yaml", "hex: { bytes: 16 }", "base64url: { bytes: 32 }"),
        dropped("now provided").edit("contract.yaml", "hex: { bytes: 16 }", "provided: { pattern: x }"),
        dropped("other unit").edit("contract.yaml", "    write-once: true\n", "    write-once: true\n    unit: salt\n"),
        dropped("other namespace").edit("contract.yaml", "namespace: shop-secrets", "namespace: elsewhere"),
        small("Y37", "half of a pair", 4, &["out/secret-source/admin.sealed.yaml: ", "`admin-password`"])
            .with(|s| s.write(ADMIN, s.read(ADMIN).split("---\n").nth(1).unwrap().as_bytes())),
        small("Y37", "the other half", 4, &["out/secret-source/admin.sealed.yaml: ", "`admin-hash`"])
            .with(|s| s.write(ADMIN, s.read(ADMIN).split("---\n").next().unwrap().as_bytes())),
        small("Y30", "sealed in two files", 4, &["session-key", "admin.sealed.yaml"])
            .with(|s| s.write(ADMIN, format!("{}---\n{}", s.read(ADMIN), s.read("out/secret-source/session-key.sealed.yaml")).as_bytes())),
        with_args(small("Y38", "missing", 1, &["out/secret-source/kustomization.yaml:8:1: "]), &["verify", "--contract", "contract.yaml"])
            .edit("out/secret-source/kustomization.yaml", "- cart-salt.sealed.yaml\n", "")
            .finds(&["kustomization-differs out/secret-source/kustomization.yaml:8:1"]),
        with_args(small("Y38", "twice", 1, &["out/secret-source/kustomization.yaml:"]), &["verify", "--contract", "contract.yaml"])
            .edit("out/secret-source/kustomization.yaml", "- cart-salt.sealed.yaml\n", "- cart-salt.sealed.yaml\n- cart-salt.sealed.yaml\n")
            .finds(&["kustomization-differs out/secret-source/kustomization.yaml:9:1"]),
    ];
    let forgotten: [(&str, &[&str]); 5] = [
        ("all remember", &[]),
        ("INSTALL.md remembers", &["out/secret-source/kustomization.yaml"]),
        ("the kustomization remembers", &["out/INSTALL.md"]),
        ("with every derived file but one", &["out/secret-source/rbac.yaml", "out/secret-source/namespace.yaml", "out/kustomization.yaml"]),
        ("with the operator's copy", &["secrets/admin-password"]),
    ];
    for (what, gone) in forgotten {
        let says = ["cart-salt", "restore it", "--destroys-data"];
        rows.push(small("Y37", what, 4, &says).with(move |s| {
            s.remove("out/secret-source/cart-salt.sealed.yaml");
            gone.iter().for_each(|path| s.remove(path));
        }));
    }
    rows.extend(escrows_that_are_damaged());
    rows
}

/// Y40, for the one state file that is not text: the escrow.
fn escrows_that_are_damaged() -> Vec<Row> {
    type Damage = (&'static str, fn(Vec<u8>) -> Vec<u8>);
    let damages: [Damage; 6] = [
        ("a bit of its header flipped", |bytes| changed(bytes, 100)),
        ("a bit of its payload flipped", |bytes| {
            let at = bytes.len() / 2;
            changed(bytes, at)
        }),
        ("its last bit flipped", |bytes| {
            let at = bytes.len() - 45;
            changed(bytes, at)
        }),
        ("truncated", |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        ("not an age file", |_| b"hello\n".to_vec()),
        ("of a later version", |_| b"age-encryption.org/v2\n-> X25519 abc\n---\n".to_vec()),
    ];
    let mut rows = Vec::new();
    for (what, damage) in damages {
        for args in [&["unseal"][..], &["key-secret"]] {
            let row = row("Y40", format!("escrow: {what}"), args, 6, &["keys/sealing.key.age: "]).start(Start::Bootstrapped);
            rows.push(row.with(move |s| s.write(ESCROW, &damage(std::fs::read(s.path(ESCROW)).unwrap()))));
        }
    }
    rows
}

/// Changes a letter of base64 in this place, or near it.
fn changed(mut bytes: Vec<u8>, near: usize) -> Vec<u8> {
    let at = (near..bytes.len()).find(|at| bytes[*at].is_ascii_alphanumeric()).unwrap();
    bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
    bytes
}

#[test]
fn y_yaml_and_contract() {
    let mut rows = yaml_that_is_not_taken();
    rows.extend(contracts_that_are_wrong());
    rows.extend(names_that_are_wrong());
    rows.extend(manifests_that_are_wrong());
    rows.extend(too_much());
    rows.extend(states_that_are_wrong());
    run_all(rows);
}
