//! `sealcast token`: who may call the local server.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::{PrincipalId, Role};
use serde_json::json;

use crate::arguments::DataDir;
use crate::failure::Failure;
use crate::output::{Report, Text};
use crate::tokens::{self, Token};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    Create(CreateArguments),
    List(ListArguments),
    Revoke(RevokeArguments),
}

/// Make a bearer token; its digest goes to DATA/tokens.json, the token itself to a file.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    data: DataDir,
    /// Who will present the token.
    #[arg(long, value_parser = parse_principal)]
    principal: PrincipalId,
    /// What they may do: predictor, releaser, approver, operator, auditor or privacy-officer; repeatable.
    #[arg(long = "role", required = true, value_parser = parse_role)]
    roles: Vec<Role>,
    /// The file for the token, made with mode 0600; one that exists is never overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// List principals and roles; tokens themselves are not stored.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    data: DataDir,
}

/// Remove every token of a principal.
#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    #[command(flatten)]
    data: DataDir,
    /// Whose tokens.
    #[arg(long, value_parser = parse_principal)]
    principal: PrincipalId,
}

fn parse_principal(text: &str) -> Result<PrincipalId, String> {
    PrincipalId::parse(text).map_err(|error| error.to_string())
}

fn parse_role(text: &str) -> Result<Role, String> {
    serde_json::from_value(text.into()).map_err(|_| {
        "expected predictor, releaser, approver, operator, auditor or privacy-officer".to_owned()
    })
}

/// Runs one of the token commands.
pub(crate) fn run(command: &TokenCommand) -> Result<Report, Failure> {
    match command {
        TokenCommand::Create(arguments) => create(arguments),
        TokenCommand::List(arguments) => list(arguments),
        TokenCommand::Revoke(arguments) => revoke(arguments),
    }
}

fn create(arguments: &CreateArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let roles: BTreeSet<Role> = arguments.roles.iter().copied().collect();
    let (principal, out) = (arguments.principal.clone(), &arguments.out);
    let token = tokens::create_token(&arguments.data.path, principal, roles, out)?;
    let text = Text::new()
        .field("principal", &token.principal)
        .field("roles", name_roles(&token))
        .field("sha256", token.sha256)
        .field("token file", out.display());
    Report::new(
        &json!({
            "principal": token.principal,
            "roles": token.roles,
            "sha256": token.sha256,
            "token_file": out.display().to_string(),
        }),
        text,
    )
}

fn list(arguments: &ListArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let tokens = tokens::list_tokens(&arguments.data.path)?;
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .map(|token| {
            vec![
                token.principal.to_string(),
                name_roles(token),
                token.sha256.to_string(),
            ]
        })
        .collect();
    let text = Text::new()
        .field("tokens", tokens.len())
        .table("principal, roles, sha256", &rows);
    Report::new(&json!({ "tokens": tokens }), text)
}

fn revoke(arguments: &RevokeArguments) -> Result<Report, Failure> {
    arguments.data.check()?;
    let principal = &arguments.principal;
    let revoked = tokens::revoke_tokens(&arguments.data.path, principal)?;
    let text = Text::new()
        .field("principal", principal)
        .field("revoked tokens", revoked);
    Report::new(&json!({ "principal": principal, "revoked": revoked }), text)
}

fn name_roles(token: &Token) -> String {
    let names: Vec<&str> = token.roles.iter().map(|role| role.name()).collect();
    names.join(",")
}
