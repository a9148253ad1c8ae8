include: "workflow/Snakefile"


set_default_target("all")
