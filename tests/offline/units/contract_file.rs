//! `manifest/contract_file.rs`

use std::collections::BTreeMap;

use seal_secrets::manifest::contract_file::*;
use seal_secrets::model::*;

#[test]
fn a_contract_reads_what_it_writes() {
    let contract = read("c", EMBEDDED).unwrap();
    let again = read("c", &write(&contract, &BTreeMap::new())).unwrap();
    let elsewhere = |contract: &Contract| {
        let mut terms = Terms::clone(contract);
        terms.keys.iter_mut().for_each(|key| key.position = None);
        format!("{terms:?}")
    };
    assert_eq!(elsewhere(&contract), elsewhere(&again));
}

#[test]
fn the_embedded_contract_is_the_one_of_the_platform() {
    let contract = read("c", EMBEDDED).unwrap();
    assert_eq!(contract.keys.len(), 18);
    assert_eq!(contract.units().len(), 17);
    let provided = contract.keys.iter().filter(|key| matches!(key.recipe, Recipe::Provided { .. }));
    assert_eq!(provided.count(), 3);
    assert_eq!(contract.read_secrets().len(), 17, "no ExternalSecret reads the administrator's password");
    let manifests = contract.consumers.iter().filter(|consumer| consumer.name.is_some());
    assert_eq!(manifests.clone().count(), 15);
    assert_eq!(manifests.map(|consumer| consumer.entries.len()).sum::<usize>(), 25);
    assert_eq!(contract.consumer_namespaces().len(), 12);
}
