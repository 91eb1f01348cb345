//! Owns the OpenAPI document: which routes and documents there are, said by the routes and documents themselves.

use utoipa::OpenApi;

use super::routes::{
    adoption, audit, catalogue, fencing, fleet, journals, simulation, vms, watching, workflows,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "reeve",
        description = "Places virtual machines on KVM hosts, keeps them running, and says why each is where it is.\n\nServed on the coordinator's UNIX socket to root and the members of the socket's group. Keys are kebab-case, moments are RFC 3339. What cannot be done is answered with `{\"error\": {\"kind\", \"message\", \"advice\"}}`."
    ),
    paths(
        fleet::openapi,
        fleet::status,
        watching::warnings,
        watching::acknowledge_warning,
        watching::metrics,
        watching::configuration_in_force,
        fleet::realms,
        fleet::realm,
        fleet::volumes,
        fleet::profiles,
        fleet::cost_functions,
        simulation::evaluate_cost,
        audit::records,
        audit::verification,
        fleet::hosts,
        fleet::host,
        fleet::add_host,
        fleet::set_host_state,
        fleet::delete_host,
        fleet::create_join_token,
        fencing::fence_host,
        fencing::try_fence,
        fencing::confirm_off,
        fleet::compare_host,
        workflows::drain_host,
        workflows::cancel_drain,
        workflows::undrain_host,
        workflows::restart_elsewhere,
        workflows::workflows,
        workflows::workflow,
        workflows::workflow_changed,
        workflows::cancel_workflow,
        catalogue::images,
        catalogue::image,
        catalogue::create_image,
        catalogue::delete_image,
        catalogue::setups,
        catalogue::setup,
        catalogue::create_setup,
        catalogue::delete_setup,
        simulation::simulate_one,
        simulation::simulate,
        catalogue::configurations,
        catalogue::configuration,
        catalogue::create_configuration,
        catalogue::delete_configuration,
        catalogue::drives,
        catalogue::drive,
        catalogue::create_drive,
        catalogue::delete_drive,
        vms::vms,
        vms::past_vms,
        adoption::unmanaged_domains,
        adoption::adopt_vm,
        adoption::release_vm,
        vms::vm,
        vms::start_vm,
        vms::start_vms,
        vms::shutdown_vm,
        vms::destroy_vm,
        simulation::compare,
        vms::vm_changed,
        vms::vm_log,
        journals::vm_journal,
        journals::host_journal,
    )
)]
struct Document;

/// The OpenAPI document of this coordinator's API.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(target)) = fields.get("$ref") {
                        found.push(target.clone());
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = serde_json::to_value(document()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50, "{}", found.len());
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
        }
    }

    #[test]
    fn every_route_says_how_it_refuses() {
        let document = serde_json::to_value(document()).unwrap();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                if path != "/v1/openapi.json" {
                    assert!(operation["responses"]["default"].is_object(), "{method} {path}");
                }
                assert!(operation["summary"].is_string(), "{method} {path} does not say what it does");
            }
        }
    }
}
