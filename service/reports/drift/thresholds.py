"""The numbers that decide in what the mail tells: read from the policy set, never written here. Pure."""

from service.policy import PolicySet


def thresholds(policy: PolicySet) -> tuple[tuple[str, str], ...]:
    """Return each threshold in force with its name in `policies/enforcement.toml`."""
    rules = policy.enforcement
    letting, flapping = rules.permissive, rules.flapping
    lines = [
        ("A dead mailbox", f"{rules.soft_bounce_limit} soft bounces in {rules.soft_bounce_days} days"),
        ("A scanner's withdrawal", f"within {rules.swift_seconds} seconds of a sending"),
        ("Evidence of a consent", f"grade {rules.weakest_grade} or better"),
        ("A read is not believed", f"from {rules.largest_shrink:.0%} fewer people on"),
        ("Second approver", f"for more than {letting.one_approval_until} people let go"),
        ("A consent lets go", f"with grade {letting.weakest_grade}, for {letting.fresh_days} days"),
        ("Not fought any more", f"undone {flapping.undone_limit} times in {flapping.within_days} days"),
    ]
    for product, limits in (("CRM", rules.breakers.crm), ("Campaigns", rules.breakers.campaigns)):
        lines += [
            (
                f"Breaker re-permissions, {product}",
                f"{limits.re_permissions} or {limits.re_permission_share:.0%}",
            ),
            (f"Breaker unknown values, {product}", f"{limits.unknown_values:.0%}"),
            (f"Breaker one actor, {product}", f"{limits.one_actor} people"),
        ]
    return tuple(lines)
