//! What every function is told by its environment.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::ports::{AuditAppender, Clock, Signer, SpillWriter};
use domain::spill::SpilledLines;
use domain::system::SystemEntropy;
use domain::{Recorder, SettingsFaults, SettingsReader};
use tracing_subscriber::EnvFilter;

use crate::audit_log::LoggedAudit;
use crate::iam_roles::IamRoles;
use crate::identity::IdentityRules;
use crate::spill_log::LoggedSpill;

/// What every function is told by its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub function: String,
    /// `AWS_LAMBDA_FUNCTION_VERSION`: `$LATEST` or a number.
    pub version: String,
    /// `SEALCAST_LOG`: what is logged, for example `info` or `info,predict=debug`.
    pub log: String,
    /// `SEALCAST_IAM_ROLES` (without it no IAM principal has a role) and `SEALCAST_JWT_ROLES_CLAIM`.
    pub identity: IdentityRules,
}

impl HostSettings {
    /// Reads the settings through `lookup`.
    ///
    /// # Errors
    /// [`SettingsFaults`], all of them.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsFaults> {
        let mut read = SettingsReader::new(lookup);
        let mut of_lambda =
            |name: &str| read.required(name, "to be started by Lambda, which sets it");
        let function = of_lambda("AWS_LAMBDA_FUNCTION_NAME");
        let version = of_lambda("AWS_LAMBDA_FUNCTION_VERSION");
        of_lambda("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        of_lambda("AWS_LAMBDA_RUNTIME_API");
        let log = read
            .optional("SEALCAST_LOG")
            .unwrap_or_else(|| "info".to_owned());
        if let Err(error) = EnvFilter::try_new(&log) {
            let why = format!("expected a level such as info: {error}");
            read.refuse("SEALCAST_LOG", why);
        }
        let table = read.optional("SEALCAST_IAM_ROLES");
        let iam_roles = IamRoles::parse(table.as_deref().unwrap_or("{}")).unwrap_or_else(|error| {
            read.refuse("SEALCAST_IAM_ROLES", error);
            IamRoles::default()
        });
        let jwt_roles_claim = read
            .optional("SEALCAST_JWT_ROLES_CLAIM")
            .unwrap_or_else(|| "roles".to_owned());
        read.finish(Self {
            function,
            version,
            log,
            identity: IdentityRules {
                iam_roles,
                jwt_roles_claim,
            },
        })
    }

    /// The settings as they are recorded: who may do what is one of them.
    pub fn as_settings(&self) -> BTreeMap<String, String> {
        let identity = &self.identity;
        let settings = [
            ("AWS_LAMBDA_FUNCTION_NAME", self.function.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", self.version.clone()),
            ("SEALCAST_IAM_ROLES", identity.iam_roles.to_string()),
            ("SEALCAST_JWT_ROLES_CLAIM", identity.jwt_roles_claim.clone()),
            ("SEALCAST_LOG", self.log.clone()),
        ];
        settings
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    /// Records in a stream of this environment, named after the function, and repeats each record's hash in the log.
    /// `signer` vouches for the stream; its id is the ARN of a key of the function's stack.
    pub fn recorder(
        &self,
        appender: Arc<dyn AuditAppender>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Recorder> {
        Arc::new(self.strict_recorder(appender, signer, clock))
    }

    /// The same in the mode `available`: what the audit log does not take goes to `spill`, and what that does not take
    /// either to standard output, where the host keeps the log.
    pub fn available_recorder(
        &self,
        appender: Arc<dyn AuditAppender>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        spill: Arc<dyn SpillWriter>,
    ) -> Arc<Recorder> {
        let last_resort = Arc::new(SpilledLines::new(std::io::stdout()));
        let recorder = self.strict_recorder(appender, signer, clock);
        Arc::new(recorder.with_spill(Arc::new(LoggedSpill::new(spill)), last_resort))
    }

    fn strict_recorder(
        &self,
        appender: Arc<dyn AuditAppender>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
    ) -> Recorder {
        Recorder::new(
            self.arn(signer.key_id()),
            Arc::new(LoggedAudit::new(appender)),
            signer,
            clock,
            Arc::new(SystemEntropy),
        )
    }

    /// The ARN of this version of the function. Lambda does not tell a function its own; its partition, region and
    /// account are those of another resource of its stack, `sibling`. Where that is no ARN, this is none either.
    pub fn arn(&self, sibling: &str) -> String {
        let (function, version) = (&self.function, &self.version);
        let parts: Vec<&str> = sibling.splitn(6, ':').collect();
        match parts[..] {
            ["arn", partition, _, region, account, _] => {
                format!("arn:{partition}:lambda:{region}:{account}:function:{function}:{version}")
            }
            _ => format!("function:{function}:{version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        let value = match name {
            "AWS_LAMBDA_FUNCTION_NAME" => "sealcast-prod-predict",
            "AWS_LAMBDA_FUNCTION_VERSION" => "7",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => "1769",
            "AWS_LAMBDA_RUNTIME_API" => "127.0.0.1:9001",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn what_lambda_sets_is_enough() {
        let settings = HostSettings::from_env(env).unwrap();
        assert_eq!(
            (&*settings.function, &*settings.version),
            ("sealcast-prod-predict", "7")
        );
        assert_eq!(
            (&*settings.log, &*settings.identity.jwt_roles_claim),
            ("info", "roles")
        );
        assert_eq!(settings.identity.iam_roles, IamRoles::default());
    }

    #[test]
    fn who_may_do_what_is_recorded_with_the_settings() {
        let roles = r#"{"arn:aws:iam::1:role/desk":["predictor"]}"#;
        let settings = HostSettings::from_env(|name| match name {
            "SEALCAST_IAM_ROLES" => Some(roles.to_owned()),
            _ => env(name),
        });
        let recorded = settings.unwrap().as_settings();
        assert_eq!(recorded["SEALCAST_IAM_ROLES"], roles);
        assert_eq!(recorded["SEALCAST_JWT_ROLES_CLAIM"], "roles");
        assert_eq!(recorded["AWS_LAMBDA_FUNCTION_VERSION"], "7");
        assert_eq!(recorded.len(), 5);
    }

    #[test]
    fn all_faults_are_reported_together() {
        let faults = HostSettings::from_env(|name| match name {
            "SEALCAST_LOG" => Some("=x=".to_owned()),
            "SEALCAST_IAM_ROLES" => Some("predictor".to_owned()),
            "AWS_LAMBDA_FUNCTION_VERSION" => Some(" ".to_owned()),
            _ => None,
        })
        .unwrap_err()
        .to_string();
        let named: Vec<_> = faults
            .lines()
            .map(|line| line.split(':').next().unwrap())
            .collect();
        assert_eq!(
            named,
            [
                "AWS_LAMBDA_FUNCTION_NAME",
                "AWS_LAMBDA_FUNCTION_VERSION",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                "AWS_LAMBDA_RUNTIME_API",
                "SEALCAST_LOG",
                "SEALCAST_IAM_ROLES",
            ]
        );
    }

    #[test]
    fn the_functions_arn_is_beside_that_of_its_key() {
        let settings = HostSettings::from_env(env).unwrap();
        let key = "arn:aws-eusc:kms:eusc-de-east-1:111122223333:key/6f:7";
        let arn =
            "arn:aws-eusc:lambda:eusc-de-east-1:111122223333:function:sealcast-prod-predict:7";
        assert_eq!(settings.arn(key), arn);
        let name = "function:sealcast-prod-predict:7";
        for none in ["", "alias/stream", "arn:aws:kms:eu-west-1"] {
            assert_eq!(settings.arn(none), name);
        }
    }
}
