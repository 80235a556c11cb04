//! Who calls, from what the HTTP API's authorizer says.

use std::collections::BTreeSet;

use domain::{Principal, PrincipalId, Role};
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayRequestAuthorizer, ApiGatewayRequestAuthorizerIamDescription,
    ApiGatewayRequestAuthorizerJwtDescription,
};

use crate::iam_roles::IamRoles;

/// What the scopes that name roles begin with: `sealcast/predictor`.
const SCOPE_PREFIX: &str = "sealcast/";

/// How an authorizer's words become a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRules {
    /// The roles of IAM principals.
    pub iam_roles: IamRoles,
    /// The claim of a JWT that holds the caller's roles.
    pub jwt_roles_claim: String,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The route has no authorizer.
    Anonymous,
    /// The authorizer let this principal in.
    Known(Principal),
    /// The authorizer let somebody in who cannot be told; what is wrong is for the log.
    Unclear(&'static str),
}

/// Tells who calls. Names are never cut or changed: two callers never become one.
pub fn identify(
    authorizer: Option<&ApiGatewayRequestAuthorizer>,
    rules: &IdentityRules,
) -> Identity {
    let Some(authorizer) = authorizer else {
        return Identity::Anonymous;
    };
    let principal = match (&authorizer.iam, &authorizer.jwt) {
        (Some(iam), None) => of_iam(iam, &rules.iam_roles),
        (None, Some(jwt)) => of_jwt(jwt, &rules.jwt_roles_claim),
        (Some(_), Some(_)) => Err("both an IAM and a JWT authorizer spoke"),
        (None, None) if authorizer.fields.is_empty() => return Identity::Anonymous,
        (None, None) => Err("neither an IAM nor a JWT authorizer spoke"),
    };
    principal.map_or_else(Identity::Unclear, Identity::Known)
}

fn of_iam(
    iam: &ApiGatewayRequestAuthorizerIamDescription,
    table: &IamRoles,
) -> Result<Principal, &'static str> {
    let arn = iam.user_arn.as_deref().unwrap_or_default();
    if !arn.starts_with("arn:") {
        return Err("the IAM authorizer names no ARN");
    }
    let id = PrincipalId::parse(arn)
        .map_err(|_| "the ARN is longer than 256 characters or not visible ASCII")?;
    Ok(Principal {
        id,
        roles: table.of(arn),
    })
}

fn of_jwt(
    jwt: &ApiGatewayRequestAuthorizerJwtDescription,
    roles_claim: &str,
) -> Result<Principal, &'static str> {
    let claim = |name: &str| jwt.claims.get(name).map(String::as_str).unwrap_or_default();
    let subject = claim("sub");
    // Whoever issues the tokens must not be able to issue the name of an IAM principal.
    if subject
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("arn:"))
    {
        return Err("the token's subject is an ARN");
    }
    let id = PrincipalId::parse(subject)
        .map_err(|_| "the token's subject is not 1 to 256 visible ASCII characters")?;
    let named = items(claim(roles_claim)).filter_map(Role::parse);
    let granted = jwt.scopes.iter().flatten().map(String::as_str);
    let scoped = granted
        .chain(claim("scope").split(' '))
        .filter_map(|scope| scope.strip_prefix(SCOPE_PREFIX))
        .filter_map(Role::parse);
    Ok(Principal {
        id,
        roles: named.chain(scoped).collect::<BTreeSet<_>>(),
    })
}

/// The items of a claim, which the HTTP API gives as text: a list as `[a b]`, a text as it stands in the token, `a b`
/// or `a,b`. A comma within a list is part of a name: a role called `desk,predictor` elsewhere grants nothing here. An
/// item of a list that holds a space cannot be told from two. Roles of other systems among them are no fault.
fn items(claim: &str) -> impl Iterator<Item = &str> {
    let list = claim
        .trim()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let separators: &[char] = if list.is_some() { &[' '] } else { &[' ', ','] };
    list.unwrap_or(claim).split(separators)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rules() -> IdentityRules {
        let table = r#"{"arn:aws:iam::1:user/*": ["auditor"], "arn:aws:sts::1:assumed-role/desk/*": ["predictor"]}"#;
        IdentityRules {
            iam_roles: IamRoles::parse(table).unwrap(),
            jwt_roles_claim: "roles".to_owned(),
        }
    }

    fn of(authorizer: Value) -> Identity {
        let authorizer = serde_json::from_value(authorizer).unwrap();
        identify(Some(&authorizer), &rules())
    }

    fn jwt(claims: Value) -> Identity {
        of(json!({"jwt": {"claims": claims, "scopes": null}}))
    }

    fn known(identity: Identity) -> (String, Vec<&'static str>) {
        match identity {
            Identity::Known(principal) => {
                let roles = principal.roles.iter().map(|role| role.name()).collect();
                (principal.id.to_string(), roles)
            }
            other => panic!("expected a principal, found {other:?}"),
        }
    }

    fn roles(identity: Identity) -> Vec<&'static str> {
        known(identity).1
    }

    #[test]
    fn without_an_authorizer_nobody_is_known() {
        assert_eq!(identify(None, &rules()), Identity::Anonymous);
        assert_eq!(of(json!({})), Identity::Anonymous);
    }

    #[test]
    fn an_iam_user_is_known_by_its_arn() {
        let identity = of(json!({"iam": {
            "accessKey": "AKIDEXAMPLE", "accountId": "1", "callerId": "AIDA", "cognitoIdentity": null,
            "principalOrgId": null, "userArn": "arn:aws:iam::1:user/anna", "userId": "AIDA",
        }}));
        assert_eq!(
            known(identity),
            ("arn:aws:iam::1:user/anna".to_owned(), vec!["auditor"])
        );
    }

    #[test]
    fn an_assumed_role_is_known_with_its_session() {
        let arn = "arn:aws:sts::1:assumed-role/desk/session-7";
        let identity = of(json!({"iam": {"userArn": arn}}));
        assert_eq!(known(identity), (arn.to_owned(), vec!["predictor"]));
        let identity = of(json!({"iam": {"userArn": "arn:aws:sts::1:assumed-role/other/desk/"}}));
        assert_eq!(roles(identity), Vec::<&str>::new());
    }

    #[test]
    fn an_iam_authorizer_without_a_usable_arn_is_unclear() {
        let long = format!("arn:aws:iam::1:user/{}", "x".repeat(256));
        for arn in [
            Value::Null,
            json!(""),
            json!("anna"),
            json!("arn:a b"),
            json!(long),
        ] {
            let identity = of(json!({"iam": {"userArn": arn}}));
            assert!(matches!(identity, Identity::Unclear(_)), "{arn}");
        }
        assert!(matches!(of(json!({"iam": {}})), Identity::Unclear(_)));
    }

    #[test]
    fn a_token_is_known_by_its_subject() {
        let claims =
            json!({"sub": "9f-anna", "iss": "https://issuer.example", "roles": "predictor"});
        assert_eq!(
            known(jwt(claims)),
            ("9f-anna".to_owned(), vec!["predictor"])
        );
    }

    #[test]
    fn a_claim_of_roles_may_be_a_list_or_a_text() {
        let expected = vec!["predictor", "auditor"];
        for claim in [
            "[predictor auditor]",
            "predictor auditor",
            "auditor,predictor",
            "auditor, predictor",
            " [ auditor  predictor ] ",
            "predictor auditor admin desk/7 [x",
        ] {
            let identity = jwt(json!({"sub": "anna", "roles": claim}));
            assert_eq!(roles(identity), expected, "{claim}");
        }
        for claim in [
            "",
            "[]",
            "Predictor",
            "predictorauditor",
            "xpredictor",
            "sealcast/predictor",
        ] {
            let identity = jwt(json!({"sub": "anna", "roles": claim}));
            assert_eq!(roles(identity), Vec::<&str>::new(), "{claim}");
        }
    }

    #[test]
    fn a_comma_in_an_item_of_a_list_is_part_of_its_name() {
        for claim in [
            "[desk,predictor]",
            "[predictor,desk]",
            "[predictor,auditor]",
            "[desk, predictor,]",
            " [predictor,] ",
            r#"["predictor","auditor"]"#,
        ] {
            let identity = jwt(json!({"sub": "anna", "roles": claim}));
            assert_eq!(roles(identity), Vec::<&str>::new(), "{claim}");
        }
        let identity = jwt(json!({"sub": "anna", "roles": "[desk,auditor predictor]"}));
        assert_eq!(roles(identity), ["predictor"]);
    }

    #[test]
    fn the_claim_of_roles_is_the_one_that_is_set() {
        let mut rules = rules();
        "cognito:groups".clone_into(&mut rules.jwt_roles_claim);
        let authorizer = json!({"jwt": {"claims":
            {"sub": "anna", "cognito:groups": "[privacy-officer]", "roles": "[approver]"}}});
        let authorizer = serde_json::from_value(authorizer).unwrap();
        assert_eq!(
            roles(identify(Some(&authorizer), &rules)),
            ["privacy-officer"]
        );
    }

    #[test]
    fn scopes_name_roles_too() {
        let identity = of(
            json!({"jwt": {"claims": {"sub": "anna", "scope": "openid sealcast/operator"},
            "scopes": ["sealcast/predictor", "sealcast/nothing", "auditor"]}}),
        );
        assert_eq!(roles(identity), ["predictor", "operator"]);
    }

    #[test]
    fn a_subject_that_is_an_arn_is_unclear() {
        for subject in [
            "arn:aws:iam::1:user/anna",
            "ARN:aws:iam::1:user/anna",
            "arn:",
        ] {
            let identity = jwt(json!({"sub": subject, "roles": "predictor"}));
            assert_eq!(identity, Identity::Unclear("the token's subject is an ARN"));
        }
        assert!(matches!(jwt(json!({"sub": "arnold"})), Identity::Known(_)));
    }

    #[test]
    fn a_token_without_a_usable_subject_is_unclear() {
        let long = "x".repeat(257);
        for subject in ["", "a b", "ann\u{e9}", "a\n", &long] {
            let identity = jwt(json!({"sub": subject, "roles": "predictor"}));
            assert!(matches!(identity, Identity::Unclear(_)), "{subject}");
        }
        assert!(matches!(jwt(json!({})), Identity::Unclear(_)));
        assert!(matches!(
            of(json!({"jwt": {"claims": null}})),
            Identity::Unclear(_)
        ));
    }

    #[test]
    fn two_authorizers_or_one_of_another_kind_are_unclear() {
        let both = json!({"iam": {"userArn": "arn:aws:iam::1:user/anna"}, "jwt": {"claims": {"sub": "anna"}}});
        assert!(matches!(of(both), Identity::Unclear(_)));
        assert!(matches!(
            of(json!({"lambda": {"sub": "anna"}})),
            Identity::Unclear(_)
        ));
    }
}
