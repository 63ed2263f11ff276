from serving.cli.model_files import MADE
from serving.config.formats.listed import FORMATS


def test_the_help_names_every_conversion():
    made = [
        f"{each.name} of {', '.join(each.conversion.suffixes)}"
        for each in FORMATS
        if each.conversion
    ]
    assert made
    assert "; ".join(made) == MADE
