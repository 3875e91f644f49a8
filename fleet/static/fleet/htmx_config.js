// htmx would write a style element into the page, which the content security policy does not allow.
htmx.config.includeIndicatorStyles = false;
htmx.config.allowEval = false;
