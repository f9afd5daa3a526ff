"""Whether a text is a unit of UCUM, case sensitive (The Unified Code for Units of Measure, clauses 2 to 4).

The table holds the base units, the derived units of the SI and of CGS, and the customary, clinical and
informational units that medicine measures with; a unit outside it is reported as unknown.
Exponents on parentheses are refused, as UCUM does since 1.9.
"""

from __future__ import annotations

import re

_PREFIX_LIST = "Y Z E P T G M k h da d c m u n p f a z y Ki Mi Gi Ti"
# Base units (clause 28), dimensionless (29), SI (30), others used with them (31), CGS (33); then clinical and
# chemical (41 to 44), levels (45), miscellaneous (46) and information.
_METRIC_LIST = """
    m s g rad K C cd 10* 10^ mol sr Hz N Pa J W A V F Ohm S Wb Cel T H lm lx Bq Gy Sv
    l L ar t bar u eV pc st Ky Gal dyn erg P Bi St Mx G Oe Gb sb Lmb ph Ci R RAD REM
    cal [Btu] mho Np B B[SPL] B[V] B[mV] B[uV] B[10.nV] B[W] B[kW] bit By Bd eq osm g% kat U [iU] [IU]
    m[H2O] m[Hg] [g] [c] [h] [k] [eps_0] [mu_0] [e] [m_e] [m_p] [G] [ly] gf cal_[15] cal_[20] cal_th
    cal_IT
"""
_WHOLE_LIST = """
    % [ppth] [ppm] [ppb] [pptr] [pi] deg ' '' gon min h d wk mo a mo_s mo_j mo_g a_t a_j a_g AU atm
    [degF] [degR] [Cal] [lbf_av] [in_i] [ft_i] [yd_i] [mi_i] [nmi_i] [kn_i] [sin_i] [sft_i] [syd_i]
    [cin_i] [cft_i] [cyd_i] [gr] [lb_av] [oz_av] [dr_av] [stone_av] [foz_us] [gal_us] [qt_us] [pt_us]
    [tsp_us] [tbs_us] [cup_us] [in_i'H2O] [in_i'Hg] [PRU] [wood'U] [diop] [p'diop] %[slope] [mesh_i] [Ch]
    [drp] [hnsf'U] [MET] [hp'_X] [pH] [S] [HPF] [LPF] [arb'U] [USP'U] [GPL'U] [MPL'U] [APL'U]
    [todd'U] [dye'U] [smgy'U] [bdsk'U] [ka'U] [knk'U] [mclg'U] [tb'U] [CFU] [FFU] [PFU] [BAU] [AU] [Lf]
    [PNU] [D'ag'U] [ELU] [EU] [car_m] [smoot] bit_s circ sph [CCID_50] [TCID_50] [EID_50]
"""
_PREFIXES = frozenset(_PREFIX_LIST.split())
_METRIC = frozenset(_METRIC_LIST.split())
_WHOLE = frozenset(_WHOLE_LIST.split())
_SYMBOL = re.compile(r"(?:[^\s.\[\]{}()/+\-0-9]|\[[^\[\]\s{}]*\]|10[*^])+")
_EXPONENT = re.compile(r"[+-]?[0-9]+")
_DIGITS = re.compile(r"[0-9]+")
_ANNOTATION = re.compile(r"\{[\x21-\x7a|~]*\}")  # printable ASCII without braces and blanks (clause 12)


def fault_of(unit: str) -> str | None:
    """Say what is wrong with a unit; None when it is one."""
    if not unit.isascii() or not unit or " " in unit:
        return "is empty, or holds a blank or a letter outside ASCII"
    try:
        rest = _term(unit[1:] if unit.startswith("/") else unit)
    except _UnitError as error:
        return str(error)
    return f"cannot be read from {rest!r} on" if rest else None


class _UnitError(ValueError):
    """A text is no unit."""


def _term(text: str) -> str:
    """Read components joined by . and /; give what is left."""
    rest = _component(text)
    while rest[:1] in (".", "/") and rest:
        rest = _component(rest[1:])
    return rest


def _component(text: str) -> str:
    if text.startswith("("):
        rest = _term(text[1:])
        if not rest.startswith(")"):
            raise _UnitError("has a parenthesis that is not closed")
        return rest[1:]
    annotation = _ANNOTATION.match(text)
    if annotation:
        return text[annotation.end() :]
    rest = _annotatable(text)
    behind = _ANNOTATION.match(rest)
    return rest[behind.end() :] if behind else rest


def _annotatable(text: str) -> str:
    symbol = _SYMBOL.match(text)
    if symbol is None:
        digits = _DIGITS.match(text)
        if digits is None:
            raise _UnitError(f"lacks a unit before {text!r}" if text else "ends where a unit should follow")
        return text[digits.end() :]
    if not _is_known(symbol.group()):
        raise _UnitError(f"names {symbol.group()!r}, which is no unit of UCUM that this version knows")
    rest = text[symbol.end() :]
    exponent = _EXPONENT.match(rest)
    return rest[exponent.end() :] if exponent else rest


def _is_known(symbol: str) -> bool:
    if symbol in _METRIC or symbol in _WHOLE:
        return True
    return any(symbol[:cut] in _PREFIXES and symbol[cut:] in _METRIC for cut in (1, 2))
