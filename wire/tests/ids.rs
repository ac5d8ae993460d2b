//! Ids have sixteen bytes; kinds of principals have fixed numbers.

use symbolon_wire::ids::{BadId, PrincipalId, PrincipalKind, SecretId};

#[test]
fn an_id_has_sixteen_bytes_and_no_others() {
    assert_eq!(SecretId::parse(&[7; 16]), Ok(SecretId([7; 16])));
    for bytes in [0, 1, 15, 17, 32] {
        assert_eq!(SecretId::parse(&vec![7; bytes]), Err(BadId { bytes }));
    }
}

#[test]
fn an_id_is_shown_in_hexadecimal() {
    let id = PrincipalId([0xAB; 16]);
    assert_eq!(id.to_string(), "ab".repeat(16));
    assert_eq!(format!("{id:?}"), format!("PrincipalId({id})"));
}

#[test]
fn the_numbers_of_principal_kinds_are_what_they_were() {
    let kinds = [
        (1, PrincipalKind::Agent, "agent"),
        (2, PrincipalKind::Workload, "workload"),
        (3, PrincipalKind::Operator, "operator"),
        (4, PrincipalKind::Gateway, "gateway"),
        (5, PrincipalKind::Node, "node"),
    ];
    for (number, kind, name) in kinds {
        assert_eq!((kind as u32, kind.name()), (number, name));
        assert_eq!(PrincipalKind::from_number(number), Some(kind));
    }
    for unknown in [0, 6, u32::MAX] {
        assert_eq!(PrincipalKind::from_number(unknown), None);
    }
}
