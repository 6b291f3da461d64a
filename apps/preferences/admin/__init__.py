"""The admin's pages of suppressed addresses, of the defaults, and of people's preferences."""

from __future__ import annotations

from apps.preferences.admin.defaults import PreferenceDefaultsAdmin
from apps.preferences.admin.people import PreferencesOfPersonAdmin
from apps.preferences.admin.suppressions import SuppressionAdmin

__all__ = ["PreferenceDefaultsAdmin", "PreferencesOfPersonAdmin", "SuppressionAdmin"]
