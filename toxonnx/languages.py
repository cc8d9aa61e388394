"""The codes of the languages that a manifest names."""

from __future__ import annotations

import re

__all__ = ["language_codes"]

#: English name -> ISO 639-1 code
_CODES = {
    "Arabic": "ar", "Bengali": "bn", "Bulgarian": "bg", "Chinese": "zh", "Croatian": "hr", "Czech": "cs",
    "Danish": "da", "Dutch": "nl", "English": "en", "Estonian": "et", "Finnish": "fi", "French": "fr", "German": "de",
    "Greek": "el", "Hebrew": "he", "Hindi": "hi", "Hinglish": "hi", "Hungarian": "hu", "Indonesian": "id",
    "Italian": "it", "Japanese": "ja", "Korean": "ko", "Latvian": "lv", "Lithuanian": "lt", "Norwegian": "no",
    "Persian": "fa", "Polish": "pl", "Portuguese": "pt", "Romanian": "ro", "Russian": "ru", "Serbian": "sr",
    "Slovak": "sk", "Slovenian": "sl", "Spanish": "es", "Swedish": "sv", "Thai": "th", "Turkish": "tr",
    "Ukrainian": "uk", "Urdu": "ur", "Vietnamese": "vi",
}  # fmt: skip
_BY_NAME = {name.lower(): code for name, code in _CODES.items()}


def language_codes(language: str) -> list[str]:
    """ISO 639-1 codes of the languages in a text such as ``English and German`` or ``en, de-AT``, in its order.

    Codes count only in a text that has nothing else, since some of them are English words. The list is empty if no
    language is recognized.
    """
    words = re.findall(r"[\w-]+", language.lower())
    found = [_BY_NAME[word] for word in words if word in _BY_NAME]
    if not found:
        codes = [word.split("-")[0] for word in words]
        found = codes if set(codes) <= set(_BY_NAME.values()) else []
    return list(dict.fromkeys(found))
