"""A set of pairs in the words of Croissant 1.0 (JSON-LD), as catalogues read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from decr.dataset.manifest import MANIFEST, manifest_bytes

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(entries: Sequence[Mapping[str, Any]]) -> str:
    """A Croissant 1.0 description: the manifest as a record set."""
    manifest = "pairs"
    nir = (
        ("cloudy_nir", "sc:Text", "File whose first channel is near infrared, cloudy."),
        ("clear_nir", "sc:Text", "File whose first channel is near infrared, clear."),
    )
    fields = (
        ("cloudy", "sc:Text", "File of the cloudy image."),
        ("clear", "sc:Text", "File of the clear image."),
        ("split", "sc:Text", "train or test."),
        ("bands", "sc:Text", "Roles of the bands in file order, by letter."),
        ("gsd_m", "sc:Float", "Metres per pixel."),
        ("white", "sc:Float", "Digital number of white."),
        ("ccp", "sc:Float", "Share of cloudy pixels, 0 to 1."),
        *(nir if any("cloudy_nir" in entry for entry in entries) else ()),
    )
    data = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "cloudy-and-clear-pairs",
        "version": "1.0.0",
        "description": f"{len(entries)} pairs of a cloudy and a clear image of the same ground.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": manifest,
                "name": manifest,
                "contentUrl": MANIFEST,
                "encodingFormat": "application/jsonlines",
                "sha256": hashlib.sha256(manifest_bytes(entries)).hexdigest(),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "chips",
                "name": "chips",
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"chips/{name}",
                        "name": f"chips/{name}",
                        "description": words,
                        "dataType": kind,
                        "source": {"fileObject": {"@id": manifest}, "extract": {"column": name}},
                    }
                    for name, kind, words in fields
                ],
            }
        ],
    }
    return json.dumps(data, indent=1) + "\n"
