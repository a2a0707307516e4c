"""Words of trouble, and words of severity: what programs write when something goes wrong."""

import numpy as np
import numpy.typing as npt
import polars as pl

Grades = npt.NDArray[np.float64]

_WORD = r"(?:^|[^\p{L}])(?:"
"""Where a word begins that is no part of another one, such as `dead` in `deadline`."""
_GRAVE = (
    # English
    "fatal|panic|catastroph|corrupt|segfault|segmentation fault|emerg(?:ency)?\\b|critical|severe"
    "|out of memory|oom\\b|crash|abort|assert"
    # German, French, Spanish, Portuguese, Italian, Dutch, Swedish
    "|schwerwiegend|kritisch|absturz|abgestürzt|beschädigt|grave\\b|fatale|critique|crítico|crítica|corrompu|corrupto|dañad"
    "|kritiek|kritisk|allvarlig|avbröt"
    # Polish, Russian
    "|krytyczn|uszkodzon|критическ|фатальн|повреждён|поврежден|аварийн"
)
_PLAIN = (
    # English
    "error|fail|denied|refus|invalid|timeout|timed out|time[- ]out|unable|cannot|can't|can"
    " not|could not|couldn't"
    "|not found|no such|does not"
    " exist|lost\\b|broken|kill|unreachable|reject|violat|missing|illegal|dead(?:lock|\\b)|bad\\b"
    "|unexpected|exceed|too"
    " many|interrupt|exhaust|expired|unavailable|err\\b|forbidden|unauthori[sz]ed|stall|traceback"
    "|terminated|terminating"
    # German
    "|fehler|fehlgeschlagen|ungültig|verweigert|konnte nicht|kann nicht|existiert nicht|nicht"
    " gefunden|abgebrochen|verloren|zeitüberschreitung|nicht erreichbar|zu"
    " viele|unerwartet|gescheitert"
    # French
    "|erreur|échec|échoué|invalide|refusé|impossible|introuvable|n'existe"
    " pas|perdu|délai|inattendu|trop de"
    # Spanish, Portuguese, Italian
    "|fallo|falló|falha|falhou|errore|erro\\b|inválid|denegad|rechazad|negad[oa]\\b|rifiutat|no se"
    " pudo|não foi possível|impossibile|no existe|não existe|non esiste|perdid|perso\\b|tiempo de"
    " espera|scadut|demasiad|inesperad|inatteso"
    # Dutch, Swedish
    "|fout|mislukt|ongeldig|geweigerd|kan niet|niet gevonden|bestaat niet|verbroken"
    "|fel\\b|misslyck|ogiltig|nekad|kunde inte|kan inte|finns inte|hittades inte|förlorad|oväntad"
    # Polish, Russian
    "|błąd|błęd|niepowodz|nieprawidłow|odmow|nie można|nie istnieje|nie"
    " znaleziono|utracon|przekroczon|ошибк|сбой|неверн|отказ|невозможно|не удалось|не существует|не"
    " найден|потерян|превышен|истекл"
)
_ANYWHERE = (
    "exception|(?-i:[a-z]Error)|(?-i:[a-z]Failure)|overflow"
    # Chinese, Japanese, Korean
    "|错误|失败|异常|超时|拒绝|エラー|失敗|異常|拒否|오류|실패"
)
"""Parts of names, such as `SocketTimeoutException`, and words of languages that write words without
spaces."""
_VERBS = "select|insert|update|delete|with|create|alter|drop|begin|commit|explain|copy|merge"
_STATEMENT = (
    rf"(?is)\b(?:statement|anweisung|sentencia):\s.*|\b(?:query|sql):\s+(?:/\*|(?:{_VERBS})\b).*"
)
"""A statement that a message repeats: its words are those of who typed it."""

_SEVERITIES = (
    (
        4,
        r"\b(?:PANIC|FATAL|EMERG(?:ENCY)?|ALERT|CRIT(?:ICAL)?|SEVERE)\b|(?i)\blevel=(?:fatal|panic|crit)",
    ),
    (
        3,
        r"\bERR(?:OR)?\b|Traceback|\b\w*(?:Exception|Error)\b|(?i)\b(?:error:|level=err|\[error\])",
    ),
    (2, r"\bWARN(?:ING)?\b|(?i)\b(?:warning:|level=warn|\[warn)"),
)
"""How grave a message is by the words of severity that it holds; any other is 1.

They are what a program itself calls its line, where words of trouble tell what the line speaks of.
"""


def grades(messages: pl.Series) -> Grades:
    """How much trouble messages speak of, (u,).

    It is 2 where something broke, 1 where something went wrong, else 0. Words in a statement that a
    message repeats do not count.

    >>> grades(pl.Series(["kernel panic", "connection refused", "deadline set", "verweigert"]))
    array([2., 1., 0., 1.])
    >>> grades(pl.Series(["statement: SELECT error FROM logs", "error in statement: SELECT 1"]))
    array([0., 1.])

    Args:
        messages: masked, (u,).
    """
    # PostgreSQL logs the statement that failed: "error" in it is a column's name, as often as not.
    own = messages.str.replace(_STATEMENT, "")
    # Whole messages at once: the rules are one expression each, which Polars compiles once.
    grave = own.str.contains(f"(?i){_WORD}{_GRAVE})")
    plain = own.str.contains(f"(?i){_WORD}{_PLAIN})|{_ANYWHERE}")
    grade = pl.when("grave").then(2.0).when("plain").then(1.0).otherwise(0.0)
    found = pl.DataFrame({"grave": grave, "plain": plain})
    graded = found.select(grade.alias("grade"))
    return graded["grade"].to_numpy()


def gravity(messages: pl.Series) -> pl.Series:
    """How grave messages are by their words of severity.

    It is 4 for FATAL and the like, 3 for ERROR, 2 for WARNING, and 1 for others.

    >>> gravity(pl.Series(["FATAL: gone", "ERROR: refused", "STATEMENT: SELECT 1"])).to_list()
    [4, 3, 1]
    """
    # From the mildest up: a message that holds several words has the gravest of them.
    levels = pl.Series([1] * len(messages), dtype=pl.Int8)
    for level, words in reversed(_SEVERITIES):
        levels = levels.set(messages.str.contains(words), level)
    return levels
