#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# sendmail against smtpd's local listener: options, addresses, line ends, exit codes.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Stage;
use Test::More;

my $st = Gatepost::Stage->new;
my $dir = $st->{dir};
spew("$dir/main.cf", slurp("$dir/main.cf") . "queue_directory = $dir\ncommand_directory = $dir/bin\n"
        . "alias_database = hash:$dir/aliases, hash:$dir/more\n");
my $sendmail = build() . '/tools/sendmail';

# Runs sendmail with INPUT; (exit status, standard error).
sub sendmail {
    my ($input, @args) = @_;
    spew("$dir/input", $input);
    return run_out('sh', '-c', 'exec "$0" "$@" <' . "$dir/input", $sendmail, '-C', $dir, @args);
}

my %seen;
sub new_letter {
    my ($id) = grep { !$seen{$_} } $st->letters;
    $seen{$id} = 1 if $id;
    return $st->letter($id) // {};
}

my @good = (
    ['plain', ['a@far.test', 'b'], "From: x\n\nbody\n", "From: x\r\n\r\nbody\r\n", ['a@far.test', 'b']],
    ['CR LF', ['a'], "From: x\r\n\r\nbody\r\n", "From: x\r\n\r\nbody\r\n", ['a']],
    ['no last line end', ['a'], "From: x\n\nend", "From: x\r\n\r\nend\r\n", ['a']],
    ['a dot ends it', ['a'], "From: x\n\n1\n.\n2\n", "From: x\r\n\r\n1\r\n", ['a']],
    ['-i: it does not', ['-i', 'a'], "From: x\n\n1\n.\n..2\n", "From: x\r\n\r\n1\r\n.\r\n..2\r\n", ['a']],
    ['-oi', ['-oi', 'a'], "From: x\n\n.\n", "From: x\r\n\r\n.\r\n", ['a']],
    ['-t', ['-t'], "From: x\nTo: A <a\@x.test>, \"b, c\" <b\@x.test>\nCc: c\@x.test\nBcc: d\@x.test\n\n",
        undef, ['a@x.test', 'b@x.test', 'c@x.test', 'd@x.test']],
    ['-t and an argument', ['-t', 'z@x.test'], "From: x\nTo: a\@x.test\n\n", undef, ['z@x.test', 'a@x.test']],
    ['-t, resent', ['-t'], "From: x\nTo: a\@x.test\nResent-To: r\@x.test\n\n", undef, ['r@x.test']],
    ['-F', ['-F', 'Full "Name"', '-f', 'me@x.test', 'a'], "Subject: s\n\n",
        "From: \"Full \\\"Name\\\"\" <me\@x.test>\r\nSubject: s\r\n\r\n", ['a']],
    ['ignored', ['-om', '-oem', '-v', '-G', '-h', '3', '-Am', '-B8BITMIME', '-U', '-n', '-bm', '--', 'a'],
        "From: x\n\n", undef, ['a']],
    ['quoted', ['"a b"@x.test'], "From: x\n\n", undef, ['a b@x.test']],
    ['8-bit', ['a'], "From: x\n\n\xe4\n", "From: x\r\n\r\n\xe4\r\n", ['a']],
);
for my $row (@good) {
    my ($name, $args, $input, $content, $rcpt) = @$row;
    my ($status, $out) = sendmail($input, @$args);
    is($status, 0, "$name: taken") or diag($out);
    my $m = new_letter;
    is($m->{content}, $content, "$name: content") if defined $content;
    is_deeply($m->{rcpt}, $rcpt, "$name: recipients");
    is($m->{uid}, $>, "$name: uid");
}
sendmail("From: x\n\n", '-f', '<>', '-N', 'success,delay', '-R', 'hdrs', '-V', 'id+1', 'a');
my $m = new_letter;
is_deeply([@$m{qw(sender notify ret envid)}], ['', 10, 2, 'id+2B1'], 'DSN options');
for my $row (['address', "From: x\n\n", "\xc3\xa4\@x.test"], ['header', "From: \xc3\xa4\n\n", 'a'],
    ['body', "From: x\n\n\xc3\xa4\n", 'a'], ['Latin 1', "From: \xe4\n\n", 'a']) {
    sendmail(@$row[1, 2]);
    is(new_letter->{flags} & 8, $row->[0] =~ /^[ah]/ ? 8 : 0, "SMTPUTF8: $row->[0]");
}
sendmail("From: x\n\n", '-f', 's@x.test', 'a');
is(new_letter->{sender}, 's@x.test', '-f');
sendmail("From: x\n\n", 'a');
is(new_letter->{sender}, scalar getpwuid($>), 'the caller');

my @bad = (
    ['no recipient',       64, "x\n",            ],
    ['-t, none found',     64, "From: x\n\n",     '-t'],
    ['unknown option',     64, "x\n",            '-Z', 'a'],
    ['unknown mode',       64, "x\n",            '-bz'],
    ['-t with -bv',        64, "x\n",            '-bv', '-t'],
    ['VERP with one',      64, "x\n",            '-XV+', 'a'],
    ['-bs, a recipient',   64, '',               '-bs', 'a'],
    ['-t without a mail',  64, '',               '-t', '-bp'],
    ['-qI without an id',  64, '',               '-qI'],
    ['-qR without a site', 64, '',               '-qR'],
    ['-qS',                64, '',               '-qSx'],
    ['bad -B',             64, "x\n",            '-B', '9BIT', 'a'],
    ['no such instance',   75, "x\n",            '-C', '/nonexistent', 'a'],
    ['bad address',        65, "x\n",            'a b@x.test'],
    ['bad sender',         65, "x\n",            '-f', 'a b@c', 'a'],
    ['too large',          69, 'x' x 120_000,    'a'],
    ['refused at the end', 69, "x\n",            '-f', 'refuse-end@x.test', 'a'],
    ['deferred',           75, "x\n",            '-f', 'refuse-open@x.test', 'a'],
);
for my $row (@bad) {
    my ($name, $code, $input, @args) = @$row;
    my ($status, $out) = sendmail($input, @args);
    is($status, $code, "$name: $code") or diag($out);
    like($out, qr/^sendmail: fatal: /m, "$name: says why");
}

# A mistake in a DSN option costs the notice, not the mail.
for my $row (['-N', 'sometimes', 'bad -N option value "sometimes"'], ['-R', 'some', 'bad -R option value "some"'],
    ['-N', 'never,delay', 'bad -N option value "never,delay"'], ['-V', "a\tb", 'bad syntax in -V option value']) {
    my ($option, $value, $text) = @$row;
    my ($status, $out) = sendmail("From: x\n\n", $option, $value, 'a');
    is_deeply([$status, $out], [0, "sendmail: warning: $text -- ignored\n"], "$option, a bad value");
    is_deeply([@{ new_letter() }{qw(notify ret envid)}], [undef, undef, undef], 'the mail is sent without it');
}
is_deeply([sendmail('', $_)], [0, ''], "$_ has nothing to do") for qw(-bh -bH -q30m);

# -bs is a plain SMTP session.
my ($status, $out) = sendmail("EHLO x\r\nMAIL FROM:<s>\r\nRCPT TO:<a>\r\nDATA\r\nFrom: x\r\n\r\n.\r\nQUIT\r\n", '-bs');
is($status, 0, '-bs');
like($out, qr/^220 .*^250 2\.1\.5 Ok\r\n354 .*^250 2\.0\.0 Ok: queued as \w+\r\n221 /ms, 'the dialogue');

# Other commands by name and option.
mkdir "$dir/bin";
for my $tool (qw(gateq gatemap gatepost)) {
    spew("$dir/bin/$tool", "#!/bin/sh\necho $tool \"\$@\"\n");
    chmod 0755, "$dir/bin/$tool";
}
symlink $sendmail, "$dir/$_" for qw(mailq newaliases);
is((sendmail('', '-bp'))[1], "gateq -c $dir list\n", '-bp');
is((run_out("$dir/mailq", '-C', $dir))[1], "gateq -c $dir list\n", 'mailq');
is((sendmail('', '-bi'))[1], "gatemap -A -c $dir hash:$dir/aliases hash:$dir/more\n", '-bi');
is((run_out("$dir/newaliases", '-C', "$dir/main.cf"))[1],
    "gatemap -A -c $dir hash:$dir/aliases hash:$dir/more\n", 'newaliases, -C FILE');
is((sendmail('', '-bi', '-oAhash:/x'))[1], "gatemap -A -c $dir hash:/x\n", '-oA');
is((sendmail('', $_, '-q30m'))[1], "gatepost -c $dir start\n", $_) for qw(-bd -bl);
{
    local $ENV{MAIL_CONFIG} = $dir;
    is((run_out("$dir/mailq"))[1], "gateq -c $dir list\n", 'MAIL_CONFIG');
}
is((sendmail('', '-qI4711'))[1], "gateq -c $dir flush 4711\n", '-qI');
is((sendmail('', '-q'))[1], "gateq -c $dir flush ALL\n", '-q');
is((sendmail('', '-qRsite.test'))[1], "gateq -c $dir -s site.test\n", '-qR');
like((sendmail('', '--help'))[1], qr/^usage: sendmail/, '--help');
like((sendmail('', '--version'))[1], qr/^gatepost \d/, '--version');

$st->order('stop');
is($st->end, 0, 'smtpd ends');

# Who may submit.
my $user = getpwuid $>;
for my $row (["$user", 250], ["!$user, static:anyone", 550],
    ['no-such-user, nobody', $user eq 'nobody' ? 250 : 550], ['static:anyone', 250]) {
    my ($list, $want) = @$row;
    my $st = Gatepost::Stage->new(main => { authorized_submit_users => $list });
    my $c = Gatepost::Smtp->new(path => $st->socket);
    $c->hello;
    my $r = $c->cmd('MAIL FROM:<me>');
    is($r->{code}, $want, "authorized_submit_users = $list");
    spew("$st->{dir}/main.cf", slurp("$st->{dir}/main.cf") . "queue_directory = $st->{dir}\n");
    my ($status) = run_out('sh', '-c', "echo x | $sendmail -C $st->{dir} a");
    is($status, $want == 250 ? 0 : 77, 'and sendmail says so');
    $c->quit;
    $st->order('stop')->end;
}
($status, $out) = sendmail("x\n", 'a');
is($status, 75, 'the system is down: try again later');
like($out, qr/mail system is down/, 'and says so');
done_testing;
